-- Study under whose name each arm of each file is shown: that of the file, or the one that several files make up.
-- Files of one whole study (`[repeat] study`) with the same workload and kind of start are one study: blocks of repeats,
-- and bits or optimizers in files of their own. Its name is the whole's; behind it stand the workload, where the whole
-- has several, and the kind of start, where this workload has several. Files stay apart where two have run the same arm
-- by themselves, since its data or recipe differs then, or where a board has two metrics, margins, lengths of training
-- or numbers of samples. `again`: an arm that another file of the study holds too, all of whose trials were taken over.
WITH known AS (
    SELECT study_id AS file_id, arm_id, coalesce(whole, study_id) AS whole, mode, workload, init, method, weight_bits,
           activation_bits, metric, margin, max_epochs, n_train, n_test
    FROM arms),
shared AS (SELECT whole, mode, workload, init, arm_id FROM known GROUP BY ALL HAVING count(*) > 1),
own AS (
    SELECT DISTINCT k.file_id, k.arm_id, true AS own
    FROM trials t JOIN (FROM known SEMI JOIN shared USING (whole, mode, workload, init, arm_id)) k
         ON k.file_id = t.study_id AND k.arm_id = t.arm_id
    WHERE t.taken_from IS NULL OR split_part(t.taken_from, '/', 1) NOT IN (SELECT file_id FROM known)),
apart AS (
    SELECT whole, mode, workload, init FROM known JOIN own USING (file_id, arm_id)
    GROUP BY whole, mode, workload, init, arm_id HAVING count(*) > 1
    UNION
    SELECT whole, mode, workload, init FROM known
    GROUP BY whole, mode, workload, init, method, weight_bits, activation_bits
    HAVING greatest(count(DISTINCT metric), count(DISTINCT margin), count(DISTINCT max_epochs), count(DISTINCT n_train),
                    count(DISTINCT n_test)) > 1),
named AS (
    SELECT file_id, arm_id, own,
           CASE WHEN min(file_id) OVER study = max(file_id) OVER study OR apart.whole IS NOT NULL THEN file_id
                ELSE known.whole
                     || CASE WHEN min(workload) OVER whole < max(workload) OVER whole THEN ', ' || workload ELSE '' END
                     || CASE WHEN min(init) OVER workload < max(init) OVER workload THEN ', ' || init ELSE '' END
           END AS study_id
    FROM known LEFT JOIN own USING (file_id, arm_id) LEFT JOIN apart USING (whole, mode, workload, init)
    WINDOW whole AS (PARTITION BY known.whole), workload AS (PARTITION BY known.whole, workload),
           study AS (PARTITION BY known.whole, mode, workload, init))
SELECT file_id, arm_id, study_id,
       row_number() OVER (PARTITION BY study_id, arm_id ORDER BY own NULLS LAST, file_id) > 1 AS again
FROM named
