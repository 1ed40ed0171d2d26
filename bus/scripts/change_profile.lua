-- Write a person's profile anew, if nobody else wrote it meanwhile.
--
-- KEYS  1 profile
-- ARGV  1 the version it was read at ("0": there was none), then field, value, field, value, …
-- Returns  the new version, 0 when another wrote it
-- Atomic because two who change it at once must not each undo what the other did.
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if version ~= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'version', version + 1, unpack(ARGV, 2))
return version + 1
