-- `board_arms` with the files of a whole study as one: `study_id` is the name that they are shown under (`parts.sql`), and
-- `file_id` that of the file, by which a row is joined with `studies` and `arms`.
SELECT a.* REPLACE (p.study_id AS study_id), p.file_id
FROM board_arms a JOIN parts p ON p.file_id = a.study_id AND p.arm_id = a.arm_id
WHERE NOT p.again
