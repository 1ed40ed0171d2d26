-- Put one entry on a gateway node's stream under the node's own next number.
--
-- KEYS  1 stream, 2 sequence, 3 alive
-- ARGV  1 most entries kept, 2 ttl of stream and sequence (ms), then field, value, …
-- Returns  the number given, or 0 when the node is not alive (nothing is written)
-- Atomic because a number without its entry would look to the node like a loss.
if redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
-- First: a Redis that is full refuses the first write of a script, but not one that needs no memory; and what a node is
-- told is kept for a moment only.
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local number = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], number .. '-0', unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if number == 1 then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
return number
