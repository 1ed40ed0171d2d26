-- Put a dead letter back at the end of the stream it was in.
--
-- KEYS  1 dead, 2 stream
-- ARGV  1 id of the dead letter
-- Returns  the entry's new id, or nil when there is no such dead letter
-- Atomic because a crash between the two would lose the entry or send it twice.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return false end
if #found[2] <= 8 then return redis.error_reply('EMPTY nothing was kept of that entry') end
-- The first eight are the four fields of bury.lua; the rest is the entry as it was.
local fields = {unpack(found[2], 9)}
local named = false
for i = 1, #fields, 2 do named = named or fields[i] == 'i' end
-- An event without an id goes by that of the entry it first came in; who had it already must not get it twice.
if not named then
  fields[#fields + 1] = 'i'
  fields[#fields + 1] = found[2][4]
end
local id = redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
return id
