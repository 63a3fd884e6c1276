import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { outlives, whenClosed, whenDone } from '../src/when-closed.ts'

function response(): ServerResponse {
  return new ServerResponse(new IncomingMessage(new Socket()))
}

async function close(outgoing: ServerResponse): Promise<void> {
  const closed = once(outgoing, 'close')
  outgoing.destroy()
  await closed
}

describe('threat: slots that are never released, because the end of an answer was missed', () => {
  it('runs once, in the order of asking', async () => {
    const ran: number[] = []
    const outgoing = response()
    for (let index = 0; index < 3; index++) whenClosed(outgoing, () => ran.push(index))
    expect(ran).toEqual([])
    await close(outgoing)
    outgoing.emit('close')
    expect(ran).toEqual([0, 1, 2])
  })

  it('runs at once when the answer has ended already', async () => {
    const outgoing = response()
    let ran = 0
    whenClosed(outgoing, () => {
      ran += 1
    })
    await close(outgoing)
    whenClosed(outgoing, () => {
      ran += 10
    })
    expect(ran).toBe(11)
  })

  it('keeps answers apart', async () => {
    const [one, other] = [response(), response()]
    const ran: string[] = []
    whenClosed(one, () => ran.push('one'))
    whenClosed(other, () => ran.push('other'))
    await close(other)
    expect(ran).toEqual(['other'])
  })

  it('is one listener, however many ask: Node warns of more than ten', () => {
    const outgoing = response()
    const before = outgoing.listenerCount('close')
    for (let index = 0; index < 50; index++) whenClosed(outgoing, () => undefined)
    expect(outgoing.listenerCount('close')).toBe(before + 1)
  })
})

describe('threat: work that goes on when its answer has ended, it is not counted any more', () => {
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  it('waits for all of it, and for what began meanwhile', async () => {
    const outgoing = response()
    const work = (): PromiseWithResolvers<void> => Promise.withResolvers<void>()
    const [first, second, last] = [work(), work(), work()]
    let done = false
    whenDone(outgoing, () => {
      done = true
    })
    outlives(outgoing, first.promise)
    outlives(outgoing, second.promise)
    await close(outgoing)
    second.resolve()
    outlives(outgoing, last.promise)
    await turn()
    first.resolve()
    await turn()
    expect(done).toBe(false)
    last.resolve()
    await turn()
    expect(done).toBe(true)
  })

  it('waits for the answer when the work has ended before', async () => {
    const outgoing = response()
    let done = false
    outlives(outgoing, Promise.resolve())
    await turn()
    whenDone(outgoing, () => {
      done = true
    })
    expect(done).toBe(false)
    await close(outgoing)
    expect(done).toBe(true)
  })
})
