-- Applies writes that were worked out from rows, if these rows are still what they were.
local moved = moved_on()
if moved then
  return moved
end
apply()
return {int(now), 'done'}
