-- Keep the answer to a request that carries an Idempotency-Key.
--
-- KEYS  1 idempotency
-- ARGV  1 fingerprint of the body, 2 answer, 3 ttl (s)
-- Returns  1
-- Atomic because the answer must not stay without an expiry.
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'answer', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
