-- Write a person's preferences anew, if nobody else wrote them meanwhile.
--
-- KEYS  1 prefs
-- ARGV  1 the document as it was read ("": there was none), 2 the document ("": none), then field, value, …: what stands
--       beside it for publish.lua
-- Returns  1, 0 when another wrote it
-- Atomic because the fields beside the document must say what it says.
if (redis.call('HGET', KEYS[1], 'doc') or '') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'doc', ARGV[2], unpack(ARGV, 3)) end
return 1
