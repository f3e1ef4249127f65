-- Study files, each with the name of the study that answers show it as, and of the whole study that it belongs to.
SELECT s.study_id, s.mode, s.complete, s.origin, s.definition_json,
       coalesce((SELECT any_value(p.study_id) FROM parts p WHERE p.file_id = s.study_id), s.study_id) AS shown,
       coalesce((SELECT any_value(a.whole) FROM arms a WHERE a.study_id = s.study_id), s.study_id) AS whole
FROM studies s ORDER BY s.study_id
