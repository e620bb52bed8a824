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
/** Nothing is known of such guests, so that each claims 256 MiB and what QEMU takes: 384 MiB. */
const kind = { memoryBytes: 256 * MIB, traits: ['of this test'] }
const said: string[] = []
const quiet = { signal: undefined, log: (line: string) => void said.push(line) }

function take(name: string, { signal }: { signal?: AbortSignal } = {}): Promise<Lease> {
  return takeLease({ name, kind }, { ...quiet, signal })
}

/** Takes one that is there as soon as it can be. */
async function takeReady(name: string): Promise<Lease> {
  const lease = await take(name)
  onTestFinished(() => lease.release())
  lease.noteReady()
  return lease
}

function states(): string[] {
  return readLeases().map(({ name, state }) => `${name} ${state}`)
}

test('guests wait in the order in which they came, and no longer than until there is room', async () => {
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
    await expect.poll(states).toContain(`${name} waits`)
  }
  expect(states()).toEqual(['first runs', 'second waits', 'third waits'])
  await first.release()
  await Promise.all(waiting)
  expect(order).toEqual(['second', 'third'])
  expect(states()).toEqual([])
})

test('one that waits says for whom and how much there is, also when it gives up', async () => {
  ownPool({ WITHVM_MEMORY: '500M' })
  await takeReady('web')
  const giveUp = new AbortController()
  said.length = 0
  const waiting = failureOf(runAsOwnHolder(() => take('database', { signal: giveUp.signal })))
  const words =
    "'database' waits for memory: it takes about 384 MiB, and 116 MiB of 500 MiB (WITHVM_MEMORY) is free beside 'web'."
  await expect.poll(() => said, { timeout: 10_000 }).toEqual([words])
  giveUp.abort(vmError('BOOT_TIMEOUT', { summary: 'The time is up.', hint: 'give it more.' }))
  expect((await waiting).message).toBe(
    `The time is up.\n\nIt was waiting for room:\n  | ${words}\n\nFix: give it more.`,
  )
  expect(states()).toEqual(['web runs'])
})

test('one that can never fit is refused at once', async () => {
  ownPool({ WITHVM_MEMORY: '200M' })
  const error = await failureOf(take('big'))
  expect(error.code).toBe('HOST_TOO_SMALL')
  expect(error.message).toBe(
    `The guest 'big' can never be started here: it has more memory than all guests may take.
  Expected: no more than 200 MiB (WITHVM_MEMORY)
  Got:      256 MiB (\`memory\`)
Fix: give it less \`memory\`, or allow for more by WITHVM_MEMORY.`,
  )
})

test('several that are taken together are refused together', async () => {
  ownPool({ WITHVM_MEMORY: '500M' })
  const wishes = ['a', 'b'].map((name) => ({ name, kind }))
  expect((await failureOf(reserveCapacity(wishes, quiet))).message).toBe(
    `The guests 'a', 'b' can never be started here: together they have more memory than all guests may take.
  Expected: no more than 500 MiB (WITHVM_MEMORY)
  Got:      512 MiB (\`memory\`)
Fix: give them less \`memory\`, or allow for more by WITHVM_MEMORY.`,
  )
})

test('a setting that cannot be meant is told', async () => {
  ownPool({ WITHVM_MEMORY: 'lots' })
  expect((await failureOf(take('any'))).message).toBe(
    `The environment variable WITHVM_MEMORY cannot be used.
  Expected: an amount of memory, as '2G'
  Got:      "lots"
Fix: correct it, or leave it out.`,
  )
  ownPool({ WITHVM_MEMORY: '', WITHVM_STARTS: '0' })
  expect((await failureOf(take('any'))).message).toContain('WITHVM_STARTS')
})

test('no more are started at a time than is said', async () => {
  ownPool({ WITHVM_STARTS: '1' })
  const first = await take('first')
  const second = runAsOwnHolder(() => take('second'))
  await expect.poll(states).toEqual(['first starts', 'second waits'])
  first.noteReady()
  await (await second).release()
  await first.release()
})

test('one that stands by makes room for one that is to be used, and for no other that stands by', async () => {
  ownPool({ WITHVM_MEMORY: '1000M' })
  const used = await takeReady('used')
  const standby = await takeStandbyLease({ name: 'idle', kind }, () => void standby?.release(), undefined)
  expect(states()).toEqual(['used runs', 'idle standby'])
  expect(await takeStandbyLease({ name: 'more', kind }, () => {}, undefined)).toBeUndefined()
  await takeReady('wanted')
  expect(states()).toEqual(['used runs', 'wanted runs'])
  await used.release()
})

test('one that stood by and is used is asked no more', async () => {
  ownPool({ WITHVM_MEMORY: '500M' })
  let asked = 0
  const standby = await takeStandbyLease({ name: 'idle', kind }, () => asked++, undefined)
  await standby?.take('1.0.0')
  const giveUp = new AbortController()
  const waiting = take('wanted', { signal: giveUp.signal }).catch(() => {})
  await sleep(200)
  giveUp.abort(new Error('enough'))
  await waiting
  expect(asked).toBe(0)
  await standby?.release()
})

test('two tests that each have a guest and want another do not wait for each other for ever', async () => {
  ownPool({ WITHVM_MEMORY: '900M' })
  said.length = 0
  const both = (name: string) =>
    runAsOwnHolder(async () => {
      const first = await take(`${name}-1`)
      first.noteReady()
      await expect.poll(() => states().length).toBeGreaterThan(1)
      const second = await take(`${name}-2`)
      await second.release()
      await first.release()
    })
  await Promise.all([both('a'), both('b')])
  expect(said.map((line) => line.replace(/^'[ab]/, "'a"))).toContain(
    "'a-2' is started beyond the limit of 900 MiB: all who have guests wait for one more, and none would get it. Guests that are started together, by launchVMs(), have no need of that.",
  )
  expect(states()).toEqual([])
})

test('those that were given room together are started with it, though others wait', async () => {
  ownPool({ WITHVM_MEMORY: '1000M' })
  const reserved = await reserveCapacity(
    ['a', 'b'].map((name) => ({ name, kind })),
    quiet,
  )
  const other = runAsOwnHolder(() => take('other'))
  await expect.poll(states).toEqual(['a+b runs', 'other waits'])
  const [a, b] = await withReservation(reserved, () => Promise.all([take('a'), take('b')]))
  expect(readLeases().map(({ expectedMiB }) => expectedMiB)).toEqual([0, 384, 384, 384])
  // What is given back before all are there is for the rest of them.
  await b.release()
  expect(reserved.entry.expectedMiB).toBe(384)
  await reserved.release()
  await a.release()
  await (await other).release()
  expect(states()).toEqual([])
})

test('what a process holds is free when it is killed', async () => {
  const env = ownPool({ WITHVM_MEMORY: '500M' })
  const folder = ownTmpdir()
  const source = `const { takeLease } = await import('#dist/src/budget/take-lease.js')
    await takeLease({ name: 'killed', kind: { memoryBytes: 256 * 1024 ** 2, traits: [] } }, { log: () => {} })
    setInterval(() => {}, 1000)`
  const holder = runScript(folder, source, 'holder', env)
  await expect.poll(states, { timeout: 20_000 }).toEqual(['killed starts'])
  const waiting = runAsOwnHolder(() => take('next'))
  await expect.poll(states).toEqual(['killed starts', 'next waits'])
  holder.kill('SIGKILL')
  await (await waiting).release()
})

test('a socket that a killed process left without an entry is removed, unless somebody listens on it', async () => {
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
  const [left, used] = [join(folder, 'left.sock'), join(folder, 'used.sock')]
  await execa(process.execPath, ['-e', script, left], { reject: false })
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(used, resolve))
  onTestFinished(() => void server.close())
  const longAgo = new Date(Date.now() - 3_600_000)
  for (const path of [left, used]) utimesSync(path, longAgo, longAgo)
  const child = await runScript(
    ownTmpdir(),
    `import { writeLeaseNamed } from '#dist/src/budget/lease-files.js'
     await (await writeLeaseNamed('second')).release()`,
    'sockets',
  )
  expect(child.exitCode).toBe(0)
  expect(readdirSync(folder)).toEqual(['used.sock'])
})

test('an entry that cannot be written fails no start', async () => {
  ownPool()
  const { release } = await writeLeaseNamed('x'.repeat(300), () => {})
  await release()
})
