-- `arm_trials` with the files of a whole study as one: `study_id` is the name that they are shown under (`parts.sql`), and
-- `file_id` that of the file, by which a row is joined with `trials`, `epochs` and `layers`.
SELECT t.* REPLACE (p.study_id AS study_id), p.file_id
FROM arm_trials t JOIN parts p ON p.file_id = t.study_id AND p.arm_id = t.arm_id
WHERE NOT p.again
