-- Open a request that carries an Idempotency-Key.
--
-- KEYS  1 idempotency
-- ARGV  1 fingerprint of the body, 2 how long a request may be in progress (s)
-- Returns  {"new"}, {"busy"} (the same request is in progress), {"other"} (same key, another body),
--          or {"done", answer}
-- Atomic because two requests with one key that arrive together must not both be new.
local state = redis.call('HMGET', KEYS[1], 'fingerprint', 'answer')
if not state[1] then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  return {'new'}
end
if state[1] ~= ARGV[1] then return {'other'} end
if not state[2] then return {'busy'} end
return {'done', state[2]}
