"""How far the studies of a results folder are, from its files alone."""

import analysis
from tune_qat.storage.paths import StoragePath
from tune_qat.text.tables import table_text

PER_ARM = """
WITH planned AS (
    SELECT study_id, arm_id, sign,
           unnest(['default', 'random', 'search', 'retrain']) AS stage,
           unnest([planned_default, planned_random, planned_search, planned_retrain]) AS planned
    FROM arms WHERE study_id = ?),
counted AS (
    SELECT p.arm_id, p.stage, p.planned, p.sign,
           count(*) FILTER (t.ended) AS done,
           count(*) FILTER (t.status = 'running') AS running,
           count(*) FILTER (t.status = 'interrupted') AS interrupted,
           count(*) FILTER (t.status = 'stopped') AS stopped_early,
           count(*) FILTER (t.status = 'diverged') AS diverged,
           count(*) FILTER (t.status IN ('error', 'oom')) AS failed,
           max(t.val_metric * p.sign) FILTER (t.status = 'completed' AND t.tuning) AS best
    FROM planned p LEFT JOIN arm_trials t ON t.study_id = p.study_id AND t.arm_id = p.arm_id AND t.stage = p.stage
    GROUP BY ALL)
SELECT arm_id, sum(done)::INT AS done, sum(running)::INT AS running, sum(interrupted)::INT AS interrupted,
       sum(greatest(0, planned - done - running))::INT AS "left", sum(stopped_early)::INT AS stopped_early,
       sum(diverged)::INT AS diverged, sum(failed)::INT AS failed, max(best) * any_value(sign) AS best_val
FROM counted GROUP BY arm_id ORDER BY arm_id
"""


def describe(results: StoragePath) -> str:
    """A block per study: whether it is complete, its start, and a line per arm."""
    connection = analysis.open(results)
    studies = connection.execute("SELECT study_id, complete, origin FROM studies ORDER BY study_id").fetchall()
    blocks = []
    for study_id, complete, origin in studies:
        pretrain = connection.execute(
            "SELECT status FROM trials WHERE study_id = ? AND stage = 'pretrain' ORDER BY started_at DESC LIMIT 1",
            [study_id],
        ).fetchall()
        frame = connection.sql(PER_ARM, params=[study_id]).to_arrow_table().to_pandas()
        goes_on = f"imported from {origin}" if origin else "the same `tune-qat run` goes on with it"
        state = "complete" if complete else f"not complete; {goes_on}"
        start = f"; pretrained start: {pretrain[0][0]}" if pretrain else ""
        blocks.append(f"study {study_id}: {state}{start}\n\n{table_text(frame)}")
    return "\n\n".join(blocks)
