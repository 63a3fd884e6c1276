// Loaded into every server under test (`node --expose-gc --import probe.ts`): says how much CPU time
// and memory the process has used, when it is asked and only then.
process.on('message', (wanted) => {
  if (wanted === 'memory') globalThis.gc?.()
  const { user, system } = process.cpuUsage()
  const { rss, heapUsed, external } = process.memoryUsage()
  process.send?.({ cpuMs: (user + system) / 1000, rss, heap: heapUsed + external })
})
process.channel?.unref()
