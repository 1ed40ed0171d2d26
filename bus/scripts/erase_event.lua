-- Take a person out of what is kept of an event; and the event out of the partition, if nobody else there has it.
--
-- KEYS  1 body, 2 seen, 3 counts, 4 inbox, 5 trail
-- ARGV  1 name of the inbox as `seen` has it, 2 "1" when the event is one of the system's own, to this person alone,
--       3 how many entries of the inbox point to it, then the ids of these, then those of the trail's entries
-- Returns  1 when the event went too, else 0
-- Atomic because who has an event is counted down once for each person, also when erasing is begun anew after a crash.
local had = redis.call('HDEL', KEYS[2], ARGV[1])
local split = 3 + tonumber(ARGV[3])
if split > 3 then had = had + redis.call('XDEL', KEYS[4], unpack(ARGV, 4, split)) end
if #ARGV > split then had = had + redis.call('XDEL', KEYS[5], unpack(ARGV, split + 1)) end
if ARGV[2] == '1' then return redis.call('DEL', KEYS[1]) end
-- A body without a count was not appended anywhere here: it waits for its time, or for a walk.
if had == 0 or redis.call('HEXISTS', KEYS[1], 'n') == 0 then return 0 end
if redis.call('HINCRBY', KEYS[1], 'n', -1) > 0 then return 0 end
redis.call('DEL', KEYS[1], KEYS[3])
return 1
