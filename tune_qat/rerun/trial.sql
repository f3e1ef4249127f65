-- A trial by its key; of several studies that have it, in the one with most of its epochs, first where it was run.
SELECT * FROM trials WHERE trial_key = ?
ORDER BY coalesce(epochs_run, 0) DESC, taken_from IS NOT NULL, study_id LIMIT 1
