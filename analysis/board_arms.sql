-- Arms with the labels that tell boards and their rows apart.
-- `method`: the study's name of the method, and for a control beside 32/32 itself what it is and for which bits, so that
-- it makes a board of its own. `optimizer`: with its quantizers' optimizer, where that is not the arm's own, so that it
-- is a row of its own; `base_optimizer` is without it. Records from before there were such arms have neither.
SELECT * REPLACE (optimizer || step_label AS optimizer,
                  CASE WHEN control IS NULL THEN coalesce(method, quantizer)
                       ELSE control || coalesce(' for ' || control_for, '') END AS method),
       optimizer AS base_optimizer
FROM (SELECT *, CASE coalesce(step_optimizer, 'own') WHEN 'own' THEN '' WHEN 'own_rate' THEN ' + own-rate steps'
                     ELSE ' + ' || step_optimizer || ' steps' END AS step_label
      FROM arms)
