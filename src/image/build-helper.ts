import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { MissingEntry } from '../cache/cache.js'
import { describeLockWait, takeEntryLock, tryEntryLock } from '../cache/entry-lock.js'
import { raceSignal } from '../common/deadline.js'
import { createDeferred } from '../common/deferred.js'
import { pollUntil } from '../common/poll.js'
import { pickToolEnvironment } from '../common/process/environment.js'
import { currentWaitLimit, testTimeTooShort } from '../common/wait-limit.js'
import { type ErrorCode, type ErrorDetails, type VMError, vmError } from '../errors.js'
import { type BuildJob, type BuildOrder, encodeOrder, type Report } from './build-job.js'
import type { OtherBuild } from './other-build.js'

/** Messages of a helper process, one line of JSON each. */
export type HelperMessage =
  | { readonly step: string; readonly amount?: string | undefined }
  /** The helper holds the lock of the entry. */
  | { readonly isBuilding: true }
  | { readonly isDone: true }
  | { readonly code: HelperErrorCode; readonly details: Omit<ErrorDetails, 'cause'> }
  /** An error that is a defect of withvm. */
  | { readonly stack: string }

type HelperErrorCode = Exclude<ErrorCode, 'COMMAND_FAILED' | 'COMMAND_TIMEOUT'>

/** Settings of Node.js that concern downloads. */
const NODE_SETTINGS = [
  'NODE_EXTRA_CA_CERTS',
  'NODE_USE_ENV_PROXY',
  'NODE_USE_SYSTEM_CA',
  'NODE_TLS_REJECT_UNAUTHORIZED',
  'WITHVM_IMAGES_SIZE',
]

/** Variables with a path, which may be relative to the working directory of this process. */
const PATHS = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'APT_CONFIG', 'TMPDIR']
/** Flags of Node.js that concern downloads. */
const NODE_FLAGS = /^--(use-(openssl|system|bundled)-ca|tls-[\w.-]+(=\S+)?|dns-result-order=\w+)$/

/** Time for which a build continues without a process that waits for it, in milliseconds. */
const ALONE_MS = 15 * 60_000
/** Interval at which a build of another process is checked, in milliseconds. */
const POLL_MS = 250
/** Number of helpers that may die before the entry is built in this process. */
const MAX_HELPERS = 2
/** Time of a test below which its limit counts as reached, in milliseconds. */
const NO_TIME_MS = 50

interface HelperWait {
  readonly report: Report
  readonly signal: AbortSignal | undefined
  /** Shows the progress of another process that builds the entry. */
  readonly other: OtherBuild
}

/**
 * Builds an entry in a helper process, or waits for the process that already builds it. The end of
 * this wait, or of this process, does not end the build. Resolves without the entry if helpers
 * cannot be started or are killed.
 *
 * @throws {UsageError} TEST_TIME_TOO_SHORT when the running test has less time than the build
 *   needs.
 * @throws errors of the build.
 */
export async function buildInHelper(
  given: Omit<BuildOrder, 'aloneMs'>,
  missing: MissingEntry,
  wait: HelperWait,
): Promise<void> {
  const order = { ...given, aloneMs: ALONE_MS }
  const limit = currentWaitLimit()
  const totalMs = limit()
  try {
    for (let died = 0; died < MAX_HELPERS; ) {
      const turn = await startUnlessBuilding(order, missing, wait)
      if (turn === 'published') return
      if (turn === 'other') {
        if (await waitForOther(missing, wait)) return
        continue
      }
      if (limit() < leastMsOf(order.job)) {
        turn.leave()
        throw timeTooShortError(order, totalMs, 'the build has just started')
      }
      const result = await turn.wait(wait)
      if (result === 'done') return
      died++
    }
  } catch (error) {
    if (wait.signal?.aborted !== true || limit() > NO_TIME_MS) throw error
    throw timeTooShortError(order, totalMs, 'the build goes on')
  }
}

/**
 * Starts a helper unless another process builds the entry. Processes that need the same entry at
 * the same time start one helper: each waits until the helper of the previous one has the entry's
 * lock.
 */
async function startUnlessBuilding(
  order: BuildOrder,
  { root, name, isPublished }: MissingEntry,
  { report, signal }: HelperWait,
): Promise<Helper | 'other' | 'published'> {
  const starter = await takeEntryLock(root, `${name}.start`, { signal, isComplete: isPublished })
  if (starter === undefined) return 'published'
  try {
    const lock = await tryEntryLock(root, name)
    if (lock === undefined) return 'other'
    await lock.release()
    const helper = new Helper(order, name, report)
    try {
      await raceSignal(helper.isBuilding, signal)
      return helper
    } catch (error) {
      helper.leave()
      throw error
    }
  } finally {
    await starter.release()
  }
}

/**
 * Resolves to true when the entry is complete, or to false when no process builds it any longer.
 */
async function waitForOther(
  { root, name, isPublished }: MissingEntry,
  { report, signal, other }: HelperWait,
): Promise<boolean> {
  report(describeLockWait('local'))
  other.follow()
  const check = async () => {
    if (await isPublished()) return true
    const lock = await tryEntryLock(root, name)
    await lock?.release()
    return lock === undefined ? undefined : false
  }
  try {
    return await pollUntil(check, { intervalMs: POLL_MS, signal })
  } finally {
    other.stop()
  }
}

/** Process that builds an entry, in its own session: Ctrl-C in the terminal does not reach it. */
class Helper {
  /** Settles when the helper has the lock of the entry, or has ended. */
  readonly isBuilding: Promise<void>
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #ended: Promise<HelperMessage | undefined>

  constructor(order: BuildOrder, entry: string, report: Report) {
    const building = createDeferred<void>()
    const ended = createDeferred<HelperMessage | undefined>()
    this.isBuilding = building.promise
    this.#ended = ended.promise
    this.#child = spawn(process.execPath, [...pickNodeFlags(), programPath(), entry], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: pickEnvironment(),
    })
    let last: HelperMessage | undefined
    const end = () => {
      building.resolve()
      ended.resolve(last)
    }
    this.#child.once('error', end).once('close', end)
    // Without a free descriptor, the program is not started and has no streams.
    if ((this.#child.stdin as Writable | undefined) === undefined) return
    this.#child.stdin.on('error', () => {}) // it has ended
    this.#child.stderr.on('data', (text: Buffer) => process.stderr.write(text))
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const message = parseMessage(line)
      if (message === undefined) return
      if ('isBuilding' in message) building.resolve()
      else if ('step' in message) report(message.step, message.amount)
      else last = message
    })
    this.#child.stdin.write(`${encodeOrder(order)}\n`)
  }

  /** Waits until the entry is built, or the helper was killed. @throws errors of the build. */
  async wait({ signal }: HelperWait): Promise<'done' | 'died'> {
    try {
      const message = await raceSignal(this.#ended, signal)
      if (message === undefined) return 'died'
      if ('code' in message) throw vmError(message.code, message.details)
      if ('stack' in message) throw new Error(message.stack)
      return 'done'
    } finally {
      this.leave()
    }
  }

  /** Ends the wait. The helper notices the end of its standard input, and goes on for some time. */
  leave(): void {
    const streams: ReadonlyArray<Readable | Writable | undefined> = [
      ...[this.#child.stdin, this.#child.stdout, this.#child.stderr],
    ]
    for (const stream of streams) stream?.destroy()
    this.#child.unref()
  }
}

function pickEnvironment(): Record<string, string> {
  const env = pickToolEnvironment(process.env, { usesNetwork: true, more: NODE_SETTINGS })
  const paths = PATHS.filter((name) => env[name]).map((name) => [name, resolve(String(env[name]))])
  return { ...env, ...Object.fromEntries(paths) }
}

function pickNodeFlags(): string[] {
  const given = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  return given.filter((flag) => NODE_FLAGS.test(flag))
}

/** Parses a line of a helper. Returns undefined for the incomplete line of one that was killed. */
function parseMessage(line: string): HelperMessage | undefined {
  try {
    return JSON.parse(line) as HelperMessage
  } catch {
    return undefined
  }
}

/** Returns the path of the built program: Node.js runs it, even if this file is run from source. */
function programPath(): string {
  const root = dirname(createRequire(import.meta.url).resolve('withvm/package.json'))
  return join(root, 'dist/src/image/build-program.js')
}

function leastMsOf(job: BuildJob): number {
  return job.kind === 'recipe' ? job.recipe.leastMs : 0
}

/** Returns a test timeout that is sufficient on a slow host, in milliseconds. */
function sufficientMs(job: BuildJob): number {
  return job.kind === 'recipe' && job.recipe.debian === undefined ? 120_000 : 600_000
}

function timeTooShortError({ subject, job }: BuildOrder, leftMs: number, state: string): VMError {
  const next = 'The build continues in the background, so a later run finds the image.'
  return testTimeTooShort({ work: subject, leftMs, sufficientMs: sufficientMs(job), state, next })
}
