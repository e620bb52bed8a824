import { createHash } from 'node:crypto'
import { readdirSync, utimesSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { runAsOwnHolder, withReservation } from '../../../src/budget/holder.js'
import type { Lease } from '../../../src/budget/lease.js'
import { readLeases, writeLeaseNamed } from '../../../src/budget/lease-files.js'
import { reserveCapacity, takeLease, takeStandbyLease } from '../../../src/budget/take-lease.js'
import { openRuntimeDir } from '../../../src/common/locks/runtime-dir.js'
import { vmError } from '../../../src/errors.js'
import { failureOf } from '../../support/failure-of.js'
import { ownPool } from '../../support/own-pool.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { runScript } from '../../support/run-script.js'

const MIB = 1024 ** 2
/** Guests without recorded memory use, so each one counts with 256 MiB plus the memory of QEMU: 384 MiB. */
const kind = { memoryBytes: 256 * MIB, traits: ['of this test'] }
const logged: string[] = []
const quiet = { signal: undefined, log: (line: string) => void logged.push(line) }

function take(name: string, { signal }: { signal?: AbortSignal } = {}): Promise<Lease> {
  return takeLease({ name, kind }, { ...quiet, signal })
}

/** Takes a lease of a guest that is ready at once. */
async function takeReady(name: string): Promise<Lease> {
  const lease = await take(name)
  onTestFinished(() => lease.release())
  lease.recordReady()
  return lease
}

function states(): string[] {
  return readLeases().map(({ name, state }) => `${name} ${state}`)
}

test('waiting guests start in first-come, first-served order as soon as capacity is free', async () => {
  ownPool({ WITHVM_MEMORY: '500M' })
  const first = await takeReady('first')
  const order: string[] = []
  const waiting: Promise<void>[] = []
  for (const name of ['second', 'third']) {
    waiting.push(
      runAsOwnHolder(() => take(name)).then(async (lease) => {
        order.push(name)
        await lease.release()
      }),
    )
    await expect.poll(states).toContain(`${name} waiting`)
  }
  expect(states()).toEqual(['first running', 'second waiting', 'third waiting'])
  await first.release()
  await Promise.all(waiting)
  expect(order).toEqual(['second', 'third'])
  expect(states()).toEqual([])
})

test('a waiting guest logs the needed and free memory, and an aborted wait reports them', async () => {
  ownPool({ WITHVM_MEMORY: '500M' })
  await takeReady('web')
  const controller = new AbortController()
  logged.length = 0
  const waiting = failureOf(runAsOwnHolder(() => take('database', { signal: controller.signal })))
  const message =
    "'database' is waiting for memory: needs about 384 MiB, 116 MiB of 500 MiB (WITHVM_MEMORY) free; running: 'web'."
  await expect.poll(() => logged, { timeout: 10_000 }).toEqual([message])
  controller.abort(vmError('BOOT_TIMEOUT', { summary: 'The boot timed out.', hint: 'Increase the timeout.' }))
  expect((await waiting).message).toBe(
    `The boot timed out.\n\nWaiting for capacity:\n  | ${message}\n\nFix: Increase the timeout.`,
  )
  expect(states()).toEqual(['web running'])
})

test('a guest that exceeds the memory limit is rejected at once', async () => {
  ownPool({ WITHVM_MEMORY: '200M' })
  const error = await failureOf(take('big'))
  expect(error.code).toBe('HOST_TOO_SMALL')
  expect(error.message).toBe(
    `The guest 'big' cannot start on this host: its memory exceeds the limit for all guests.
  Expected: at most 200 MiB (WITHVM_MEMORY)
  Got:      256 MiB (\`memory\`)
Fix: Reduce \`memory\`, or increase WITHVM_MEMORY.`,
  )
})

test('guests whose total memory exceeds the limit are rejected together', async () => {
  ownPool({ WITHVM_MEMORY: '500M' })
  const requests = ['a', 'b'].map((name) => ({ name, kind }))
  expect((await failureOf(reserveCapacity(requests, quiet))).message).toBe(
    `The guests 'a', 'b' cannot start on this host: their total memory exceeds the limit for all guests.
  Expected: at most 500 MiB (WITHVM_MEMORY)
  Got:      512 MiB (\`memory\`)
Fix: Reduce \`memory\`, or increase WITHVM_MEMORY.`,
  )
})

test('an invalid environment variable is reported with the expected value', async () => {
  ownPool({ WITHVM_MEMORY: 'lots' })
  expect((await failureOf(take('any'))).message).toBe(
    `The environment variable WITHVM_MEMORY is invalid.
  Expected: an amount of memory, such as '2G'
  Got:      "lots"
Fix: Correct or unset WITHVM_MEMORY.`,
  )
  ownPool({ WITHVM_MEMORY: '', WITHVM_STARTS: '0' })
  expect((await failureOf(take('any'))).message).toContain('WITHVM_STARTS')
})

test('WITHVM_STARTS limits the number of concurrent starts', async () => {
  ownPool({ WITHVM_STARTS: '1' })
  const first = await take('first')
  const second = runAsOwnHolder(() => take('second'))
  await expect.poll(states).toEqual(['first starting', 'second waiting'])
  first.recordReady()
  await (await second).release()
  await first.release()
})

test('a standby is evicted for a guest that starts, but not for another standby', async () => {
  ownPool({ WITHVM_MEMORY: '1000M' })
  const used = await takeReady('used')
  const standby = await takeStandbyLease({ name: 'idle', kind }, () => void standby?.release(), undefined)
  expect(states()).toEqual(['used running', 'idle standby'])
  expect(await takeStandbyLease({ name: 'more', kind }, () => {}, undefined)).toBeUndefined()
  await takeReady('wanted')
  expect(states()).toEqual(['used running', 'wanted running'])
  await used.release()
})

test('a standby that a test has taken is not evicted', async () => {
  ownPool({ WITHVM_MEMORY: '500M' })
  let evictions = 0
  const standby = await takeStandbyLease({ name: 'idle', kind }, () => evictions++, undefined)
  await standby?.take('1.0.0')
  const controller = new AbortController()
  const waiting = take('wanted', { signal: controller.signal }).catch(() => {})
  await sleep(200)
  controller.abort(new Error('enough'))
  await waiting
  expect(evictions).toBe(0)
  await standby?.release()
})

test('two tests that each hold a guest and wait for another do not deadlock', async () => {
  ownPool({ WITHVM_MEMORY: '900M' })
  logged.length = 0
  const both = (name: string) =>
    runAsOwnHolder(async () => {
      const first = await take(`${name}-1`)
      first.recordReady()
      await expect.poll(() => states().length).toBeGreaterThan(1)
      const second = await take(`${name}-2`)
      await second.release()
      await first.release()
    })
  await Promise.all([both('a'), both('b')])
  expect(logged.map((line) => line.replace(/^'[ab]/, "'a"))).toContain(
    "'a-2' is starting above the limit of 900 MiB to break a deadlock: every holder is waiting for another guest. Start such guests together with launchVMs() to avoid this.",
  )
  expect(states()).toEqual([])
})

test('guests with reserved capacity start while other guests wait', async () => {
  ownPool({ WITHVM_MEMORY: '1000M' })
  const reserved = await reserveCapacity(
    ['a', 'b'].map((name) => ({ name, kind })),
    quiet,
  )
  const other = runAsOwnHolder(() => take('other'))
  await expect.poll(states).toEqual(['a+b running', 'other waiting'])
  const [a, b] = await withReservation(reserved, () => Promise.all([take('a'), take('b')]))
  expect(readLeases().map(({ expectedMiB }) => expectedMiB)).toEqual([0, 384, 384, 384])
  // Capacity that is released before all guests have started remains reserved for the others.
  await b.release()
  expect(reserved.entry.expectedMiB).toBe(384)
  await reserved.release()
  await a.release()
  await (await other).release()
  expect(states()).toEqual([])
})

test('the leases of a killed process are released', async () => {
  const env = ownPool({ WITHVM_MEMORY: '500M' })
  const folder = ownTmpdir()
  const source = `const { takeLease } = await import('#dist/src/budget/take-lease.js')
    await takeLease({ name: 'killed', kind: { memoryBytes: 256 * 1024 ** 2, traits: [] } }, { log: () => {} })
    setInterval(() => {}, 1000)`
  const holder = runScript(folder, source, 'holder', env)
  await expect.poll(states, { timeout: 20_000 }).toEqual(['killed starting'])
  const waiting = runAsOwnHolder(() => take('next'))
  await expect.poll(states).toEqual(['killed starting', 'next waiting'])
  holder.kill('SIGKILL')
  await (await waiting).release()
})

test('a stopped process that waits for capacity blocks no later start, and waits again when it continues', async () => {
  const env = ownPool({ WITHVM_MEMORY: '500M' })
  const first = await takeReady('first')
  const source = `const { takeLease } = await import('#dist/src/budget/take-lease.js')
    await takeLease({ name: 'stopped', kind: { memoryBytes: 256 * 1024 ** 2, traits: [] } }, { log: () => {} })
    setInterval(() => {}, 1000)`
  const stopped = runScript(ownTmpdir(), source, 'stopped', env)
  onTestFinished(() => void stopped.kill('SIGKILL'))
  await expect.poll(states, { timeout: 20_000 }).toEqual(['first running', 'stopped waiting'])
  stopped.kill('SIGSTOP')
  await first.release()
  const next = await runAsOwnHolder(() => take('next', { signal: AbortSignal.timeout(20_000) }))
  stopped.kill('SIGCONT')
  await expect.poll(states).toEqual(['stopped waiting', 'next starting'])
  await next.release()
  await expect.poll(states).toEqual(['stopped starting'])
})

test('a socket without an entry is removed unless a process listens on it', async () => {
  ownPool()
  const { release } = await writeLeaseNamed('first')
  await release()
  const pool = createHash('sha256')
    .update(process.env.WITHVM_POOL ?? '')
    .digest('hex')
    .slice(0, 8)
  const folder = openRuntimeDir(`leases-${pool}`) as string
  const script = `const { createServer } = require('node:net')
    createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
  const [stale, used] = [join(folder, 'stale.sock'), join(folder, 'used.sock')]
  await execa(process.execPath, ['-e', script, stale], { reject: false })
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(used, resolve))
  onTestFinished(() => void server.close())
  const longAgo = new Date(Date.now() - 3_600_000)
  for (const path of [stale, used]) utimesSync(path, longAgo, longAgo)
  const child = await runScript(
    ownTmpdir(),
    `import { writeLeaseNamed } from '#dist/src/budget/lease-files.js'
     await (await writeLeaseNamed('second')).release()`,
    'sockets',
  )
  expect(child.exitCode).toBe(0)
  expect(readdirSync(folder)).toEqual(['used.sock'])
})

test('an entry that cannot be written does not fail the start', async () => {
  ownPool()
  const { release } = await writeLeaseNamed('x'.repeat(300), () => {})
  await release()
})
