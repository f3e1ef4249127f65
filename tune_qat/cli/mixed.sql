-- Mixed schemes of a study, and the bits of their layers; NULL until these are allocated.
SELECT method, any_value(layer_bits_json) AS layer_bits_json
FROM arms
WHERE study_id = $1 AND starts_with(method, 'mixed-')
      AND (SELECT json_extract_string(definition_json, '$.quantization.mixed') FROM studies WHERE study_id = $1) IS NOT NULL
GROUP BY method ORDER BY method
