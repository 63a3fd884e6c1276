/**
 * A wall clock that is stepped, for `--import`: SIGUSR2 moves it on to the next of the offsets in
 * `TEST_CLOCK_STEPS` (ms, separated by commas). It replaces what JavaScript sees of the wall clock and
 * leaves the monotonic clock and all timers alone, as a step by NTP or an administrator does.
 */
const offsets = (process.env['TEST_CLOCK_STEPS'] ?? '').split(',').map(Number)
const realNow = Date.now
let offset = 0

globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [realNow() + offset] : args, newTarget),
})
Date.now = () => realNow() + offset

process.on('SIGUSR2', () => {
  offset = offsets.shift() ?? 0
  process.stderr.write(`clock stepped by ${offset}\n`)
})
