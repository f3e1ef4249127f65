"""How far the studies of a results folder are, from its files alone."""

from pathlib import Path

from tune_qat.results.reader import connect
from tune_qat.tables import table_text

PER_ARM = """
WITH counted AS (
    SELECT a.study_id, a.arm_id,
           a.planned_default + a.planned_random + a.planned_search + a.planned_retrain AS planned,
           count(t.trial_key) FILTER (status NOT IN ('running', 'interrupted')) AS done,
           count(t.trial_key) FILTER (status = 'running') AS running,
           count(t.trial_key) FILTER (status = 'interrupted') AS interrupted,
           count(t.trial_key) FILTER (status = 'stopped') AS stopped_early,
           count(t.trial_key) FILTER (status = 'diverged') AS diverged,
           count(t.trial_key) FILTER (status IN ('error', 'oom')) AS failed,
           any_value(a.sign) AS sign,
           max(t.val_metric * a.sign) FILTER (status = 'completed' AND stage <> 'retrain') AS best
    FROM arms a LEFT JOIN trials t
      ON t.study_id = a.study_id AND t.arm_id = a.arm_id AND t.epochs = a.max_epochs
     -- An earlier best configuration's retrain trials are no part of today's plan.
     AND (t.stage <> 'retrain' OR a.best_config_id IS NULL OR t.config_id = a.best_config_id)
    GROUP BY ALL)
SELECT arm_id, done, running, interrupted, greatest(0, planned - done - running) AS "left",
       stopped_early, diverged, failed, best * sign AS best_val
FROM counted WHERE study_id = ? ORDER BY arm_id
"""


def describe(results: Path) -> str:
    """A block per study: whether it is complete, its start, and a line per arm."""
    connection = connect(results)
    studies = connection.execute("SELECT study_id, complete FROM studies ORDER BY study_id").fetchall()
    blocks = []
    for study_id, complete in studies:
        pretrain = connection.execute(
            "SELECT status FROM trials WHERE study_id = ? AND stage = 'pretrain' ORDER BY started_at DESC LIMIT 1",
            [study_id],
        ).fetchall()
        frame = connection.sql(PER_ARM, params=[study_id]).to_arrow_table().to_pandas()
        state = "complete" if complete else "not complete; the same `tune-qat run` goes on with it"
        start = f"; pretrained start: {pretrain[0][0]}" if pretrain else ""
        blocks.append(f"study {study_id}: {state}{start}\n\n{table_text(frame)}")
    return "\n\n".join(blocks)
