// optional: api-key
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { generateKey } from '../src/auth/api-key.ts'
import { keyFile, reloadable } from './reload-target.ts'

describe('threat: a revocation that falls between two looks is lost, and the key works for ever', () => {
  it('sees a change that was made right after the start had read the file', async () => {
    const { isLive, afterTenSeconds, reloads } = reloadable({ onRead: (revoke) => revoke() })
    expect(await isLive()).toBe(true)
    await afterTenSeconds()
    expect(await isLive()).toBe(false)
    expect(reloads()).toEqual(['keys.reload applied'])
  })

  it('sees a file that is as it was before SIGHUP read another', async () => {
    const { key, live, write, isLive, afterTenSeconds, reloads } = reloadable()
    write(keyFile(generateKey()))
    await live.reload()
    write(keyFile(key))
    await afterTenSeconds()
    expect(await isLive()).toBe(true)
    expect(reloads()).toEqual(['policy.reload applied', 'keys.reload applied'])
  })

  it('goes on after a reload that failed by a bug', async () => {
    const { live, trail, revoke, isLive, afterTenSeconds } = reloadable()
    trail.write.mockImplementationOnce(() => {
      throw new TypeError('bug')
    })
    await expect(live.reload()).rejects.toThrow('bug')
    revoke()
    await afterTenSeconds()
    expect(await isLive()).toBe(false)
  })

  it('does not wait for the check of what is open, which an issuer may hold up', async () => {
    const { lasting, live, revoke, isLive, afterTenSeconds } = reloadable()
    vi.spyOn(lasting.holds, 'check').mockReturnValue(new Promise(() => undefined))
    await live.reload()
    revoke()
    await afterTenSeconds()
    expect(await isLive()).toBe(false)
  })
})

describe('contract: what is watched', () => {
  it('reads the certificate once more when the digest of its files is known', () => {
    expect(reloadable().listener.secure).toHaveBeenCalledTimes(1)
  })

  it('serves no new app once it is closed: a server that drains stays so', async () => {
    const { live, listener, reloads } = reloadable()
    live.close()
    await live.reload()
    expect(listener.serve).not.toHaveBeenCalled()
    expect(reloads()).toEqual([])
  })
})

describe('threat: a file is broken for days, and what was revoked in it works on', () => {
  const broken = (live: ReturnType<typeof reloadable>['live']): readonly boolean[] =>
    (['policy.reload', 'keys.reload'] as const).map(
      (event) => live.refusedSince(event) !== undefined,
    )

  it('is known since the first refusal, until the file is right', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const { key, live, write, afterTenSeconds } = reloadable()
    expect(broken(live)).toEqual([false, false])
    const since = Date.now()
    write('{')
    await afterTenSeconds()
    vi.setSystemTime(since + 60_000)
    write('[')
    await afterTenSeconds()
    expect(live.refusedSince('keys.reload')).toBe(since)
    expect(broken(live)).toEqual([false, true])
    write(keyFile(key))
    await afterTenSeconds()
    expect(broken(live)).toEqual([false, false])
    vi.useRealTimers()
  })

  it('is the key file when the policies that were read are those in force', async () => {
    const { live, write } = reloadable()
    write('{')
    await live.reload()
    expect(broken(live)).toEqual([false, true])
  })

  it('stays known of policies while keys are read, until policies are right', async () => {
    const { folder, live, write, afterTenSeconds } = reloadable()
    const path = join(folder, 'access.yaml')
    const good = readFileSync(path, 'utf8')
    appendFileSync(path, 'unknown: 1\n')
    await live.reload()
    expect(broken(live)).toEqual([true, false])
    write(keyFile(generateKey()))
    await afterTenSeconds()
    expect(broken(live)).toEqual([true, false])
    writeFileSync(path, good)
    await live.reload()
    expect(broken(live)).toEqual([false, false])
  })
})
