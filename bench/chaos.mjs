// `npm run chaos [-- --rounds N | --minutes N] [--seed N] [--only FAULT,FAULT]` starts programs with guests and injects a fault at a random
// moment: the program, QEMU or a helper is killed or stopped for a while, the disk or the memory is filled, or the clock jumps. Other faults
// kill a program during the KVM probe, a build, a download, the save of a template, a fork, a network boot, or with commands of `guestfwd`. After each
// round nothing may be left, the base image must be unchanged, and the next run must succeed. A seed reproduces the same rounds.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { freemem, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { withVM } from 'withvm'
import { resolveCacheDir } from '../dist/src/common/cache-dir.js'
import { findQemu } from '../dist/src/host/qemu-binary.js'
import { describePhases, emptyCache, findRemains, serveSlowly } from './chaos-phases.mjs'
import { makeClock } from './fake-clock.mjs'
import { seededRandom } from './random.mjs'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    minutes: { type: 'string' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
  },
})
const random = seededRandom(Number(values.seed))
const endsAt = performance.now() + Number(values.minutes ?? Number.POSITIVE_INFINITY) * 60_000
const rounds = Number(values.rounds ?? (values.minutes === undefined ? 100 : Number.POSITIVE_INFINITY))

/** Time limit for QEMU to end after its test process, milliseconds. */
const QEMU_END_MS = 1000
/** Time limit for a program to end after SIGTERM, milliseconds. */
const END_MS = 20_000

const folder = await mkdtemp(join(process.env.TMPDIR ?? tmpdir(), 'chaos-'))
process.env.TMPDIR = folder
/** Folder of locks and leases. */
const runtime = join(folder, 'runtime')
mkdirSync(runtime, { mode: 0o700 })
process.env.XDG_RUNTIME_DIR = runtime
const full = join(folder, 'full')

/** Starts guests one after the other. After a VMError, the next guest is started. */
const PROGRAM = `
  import { VMError, withVM } from 'withvm'
  const options = { log: () => {}, ...JSON.parse(process.argv[1] ?? '{}') }
  for (;;) {
    try {
      await withVM(options, async (vm) => {
        process.stdout.write('pid ' + vm.pid + '\\n')
        await vm.ssh\`head -c 3000000 /dev/urandom >/root/x; sync\`
        await vm.exec('true')
      })
    } catch (error) {
      if (!(error instanceof VMError)) throw error
      process.stdout.write('failed ' + error.code + '\\n')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }`

const NEXT = `
  import { withVM } from 'withvm'
  await withVM({ log: () => {}, standby: false }, async (vm) => {
    const { stdout } = await vm.ssh\`ls /root\`
    if (stdout !== '') throw new Error('the next guest is not fresh: ' + stdout)
  })`

/** Faults by name. Each function gets the program and injects the fault. */
const FAULTS = {
  'kill-test-process': async (program) => void program.kill('SIGKILL'),
  'end-test-process': async (program) => void program.kill(pick(['SIGINT', 'SIGTERM', 'SIGHUP'])),
  'kill-qemu': async () => {
    for (const { pid } of findProcesses((command) => command.includes('qemu-system'))) kill(pid, 'SIGKILL')
  },
  'kill-helper': async (program) => {
    const helpers = findProcesses((command) => /qemu-img|keeper-program/.test(command))
    if (helpers.length > 0) kill(pick(helpers).pid, 'SIGKILL')
    else program.kill('SIGKILL')
  },
  'stop-test-process': async (program) => {
    program.kill('SIGSTOP')
    await sleep(500 + random() * 2500)
    program.kill('SIGCONT')
  },
  'stop-qemu': async () => {
    const stopped = findProcesses((command) => command.includes('qemu-system'))
    for (const { pid } of stopped) kill(pid, 'SIGSTOP')
    await sleep(500 + random() * 2500)
    for (const { pid } of stopped) kill(pid, 'SIGCONT')
  },
  'fill-memory': async () => {
    const bytes = Math.min(freemem() / 2, 2 ** 30)
    const hog = start(`Buffer.alloc(${Math.floor(bytes)}, 1); setTimeout(() => {}, 1000)`)
    await ended(hog)
  },
  'fill-disk': async () => sleep(1500),
  // Jumps of up to a month in either direction.
  'jump-clock': async () => {
    for (let jump = 0; jump < 3; jump++) {
      clock.set((random() - 0.5) * 60 * 86_400)
      await sleep(300 + random() * 1000)
    }
  },
}

const clock = makeClock(folder, (await findQemu()).path)
if (clock === undefined) {
  delete FAULTS['jump-clock']
  console.log('the fault jump-clock is skipped: it requires the package libfaketime')
}
const usualCache = resolveCacheDir()
const PHASES = describePhases(folder, await serveSlowly(), usualCache)
for (const name of Object.keys(PHASES)) FAULTS[name] = FAULTS['kill-test-process']
const names = Object.keys(FAULTS).filter((name) => values.only?.split(',').includes(name) ?? true)
const problems = []
let base
try {
  base = await withVM({ ready: 'none', standby: false, log: () => {} }, (vm) => vm.baseDisk)
  const digest = await digestOf(base)
  let round = 0
  for (; round < rounds && performance.now() < endsAt; round++) {
    // The first rounds inject each fault once.
    const name = round < names.length ? names[round] : pick(names)
    const delayMs = Math.round(random() * (PHASES[name]?.longestMs ?? 3000))
    const found = await playRound(name, delayMs)
    if ((await digestOf(base)) !== digest) found.push('the base image has changed')
    console.log(
      `round ${round}: ${name} after ${delayMs} ms: ${found.length === 0 ? 'ok' : found.join('; ')}`,
    )
    for (const problem of found) problems.push(`round ${round} (${name} after ${delayMs} ms): ${problem}`)
  }
  console.log(
    problems.length === 0
      ? `${round} rounds of seed ${values.seed}: nothing is left, and each next run succeeded`
      : `${problems.length} problems; to reproduce: npm run chaos -- --seed ${values.seed} --rounds ${round}`,
  )
} finally {
  await rm(folder, { recursive: true, force: true })
}
process.exitCode = problems.length === 0 ? 0 : 1

async function playRound(name, delayMs) {
  const found = []
  const isFull = name === 'fill-disk' && (await mountSmall())
  try {
    clock?.set(0)
    const phase = PHASES[name]
    if (phase !== undefined) emptyCache(phase, name, usualCache)
    const program =
      phase === undefined
        ? start(PROGRAM, isFull ? { tmpdir: full } : {}, name === 'jump-clock' ? clock.env : {})
        : startPhase(phase)
    const end = ended(program)
    await sleep(delayMs)
    await FAULTS[name](program)
    // A program that continues is ended with SIGTERM.
    program.kill('SIGTERM')
    const outcome = await Promise.race([end, sleep(END_MS, 'hangs')])
    if (outcome === 'hangs') {
      found.push(`the program did not end within ${END_MS} ms`)
      program.kill('SIGKILL')
      await end
    } else if (outcome.signal === null && outcome.code !== 0 && phase === undefined) {
      found.push(
        `the program ended with ${outcome.code}: ${outcome.stderr.trim().split('\n').slice(-8).join(' | ')}`,
      )
    }
    await sleep(QEMU_END_MS)
    // A helper that builds or downloads an image outlives the program, in its own session. It is killed too.
    const helpers = findProcesses(isHelper)
    for (const { pid } of helpers) kill(-pid, 'SIGKILL')
    if (helpers.length > 0) await sleep(QEMU_END_MS)
    const orphans = findProcesses(() => true)
    if (orphans.length > 0)
      found.push(`left: ${orphans.map(({ command }) => command.slice(0, 120)).join(', ')}`)
    for (const { pid } of orphans) kill(pid, 'SIGKILL')
  } finally {
    if (isFull) await ended(spawn('umount', ['-l', full], { stdio: 'ignore' }))
  }
  const next = await ended(start(NEXT))
  if (next.code !== 0) found.push(`the next run ended with ${next.code}: ${next.stderr.trim().slice(-500)}`)
  const folders = readdirSync(folder).filter((entry) => entry.startsWith('withvm-'))
  if (folders.length > 0) found.push(`left after the next run: ${folders.join(', ')}`)
  const remains = PHASES[name] === undefined ? [] : await findRemains(PHASES[name])
  if (remains.length > 0) found.push(`left in the cache: ${remains.join(', ')}`)
  const claims = listFiles(join(runtime, 'withvm')).filter((file) => /~|\.sock$/.test(file))
  if (claims.length > 0) found.push(`locks or leases are left: ${claims.join(', ')}`)
  const sockets = readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`${folder}/`))
  if (sockets.length > 0) found.push(`${sockets.length} sockets are left`)
  return found
}

function listFiles(dir) {
  try {
    return readdirSync(dir, { recursive: true })
  } catch {
    return [] // this user's folder is elsewhere
  }
}

/** Mounts a file system of a few megabytes. Returns false if this user cannot mount. */
async function mountSmall() {
  mkdirSync(full, { recursive: true })
  const { code } = await ended(
    spawn('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', full], { stdio: 'ignore' }),
  )
  return code === 0
}

function startPhase({ args, source, env }) {
  if (source !== undefined) return start(source, {}, env)
  return spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
  })
}

/** Starts a program in a separate process, which is identified by its TMPDIR. */
function start(source, options = {}, env = {}) {
  return spawn(process.execPath, ['--input-type=module', '-e', source, JSON.stringify(options)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: import.meta.dirname,
    env: { ...process.env, ...env },
  })
}

function ended(child) {
  let stderr = ''
  child.stderr?.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-4000)
  })
  return new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal, stderr })))
}

/** Lists the processes of guests below this folder: QEMU and its helpers. */
function findProcesses(matches) {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const isOurs = command.includes(`${folder}/`) || isChild(entry)
        return isOurs && matches(command)
          ? [{ pid: Number(entry), command: basename(command.split(' ')[0]) + command }]
          : []
      } catch {
        return [] // the process has ended
      }
    })
}

/** Returns true for the helpers of `src/image/build-helper.ts`, which are bounded in time, not by their parent. */
function isHelper(command) {
  return command.includes('/dist/src/image/build-program.js ')
}

/** Returns true if a process was started by one of the programs: they have this folder as TMPDIR. */
function isChild(pid) {
  if (Number(pid) === process.pid) return false
  return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`TMPDIR=${folder}\0`)
}

function kill(pid, signal) {
  try {
    process.kill(pid, signal)
  } catch {
    // The process has ended.
  }
}

function pick(list) {
  return list[Math.floor(random() * list.length)]
}

async function digestOf(path) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}
