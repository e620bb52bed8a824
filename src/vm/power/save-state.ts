import { randomBytes } from 'node:crypto'
import type { GuestAgent } from '../../channel/agent/guest-agent.js'
import {
  type ClockRate,
  type ClockReading,
  compareClocks,
  correctFrequency,
  isClockRight,
  measureClockRate,
  readGuestClock,
} from '../../channel/agent/guest-clock.js'
import { combineSignals } from '../../common/combine-signals.js'
import { pollUntil } from '../../common/poll.js'
import { VMError, vmError } from '../../errors.js'
import { rememberTscKhz } from '../../host/tsc-frequency.js'
import { PARKED } from '../../provisioning/guest-identity.js'
import { isPc } from '../../spec/architectures.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { migrateToFile } from './migrate-to-file.js'
import { parkGuest } from './park-guest.js'
import { stageLimitMs } from './readiness.js'
import { ignoreShared } from './restore-state.js'
import { requireSavable, requireTpmSeed, requireUnchanged } from './save-checks.js'
import type { SshAccess } from './ssh-access.js'

const PARK = '/usr/lib/withvm/park'
/** Maximum number of attempts to park the guest through its agent. */
const PARK_ATTEMPTS = 3
/** Timeout for a silent guest agent to answer again, and for reading a clock, in milliseconds. */
const AGENT_MS = 60_000
/**
 * Timeout of saving the device state, in milliseconds. It is small, but the host's disk may be
 * busy.
 */
const SAVE_MS = 60_000
/**
 * Relative precision of the measurement of a wrong clock, whose frequency the next boot uses, and
 * its maximum duration.
 */
const PRECISION = 0.005
const MEASURE_MS = 15_000
/** QEMU messages for a device or setting that can never be saved. */
const UNSAVABLE = /non-migratable|blocked|not support|unsupported|not allowed|disabled/i

/**
 * Quiesces a guest for cloning, unless its clones are exact copies, and saves its device state. Its
 * RAM is then in its files, its disks in their overlays, and its QEMU has ended.
 *
 * @throws {UsageError} SAVE_UNSUPPORTED when a device of this guest cannot be saved, or for one of
 *   the reasons of `requireSavable()`.
 * @throws {GuestError} AGENT_UNAVAILABLE, IDENTITY_AGENT_SILENT when the guest cannot be quiesced.
 * @throws {GuestError} GUEST_CLOCK_WRONG when its clock is more than 2 % too fast or too slow.
 * @throws {InfrastructureError} QMP_FAILED when the state is not saved in time.
 */
export async function saveGuest(
  machine: Machine,
  session: Session,
  options: {
    readonly statePath: string
    /**
     * If true, code of the author has run in the guest, so the frequency that it reports is not
     * recorded.
     */
    readonly isPrepared: boolean
    /** SSH connections of the guest, which are closed. */
    readonly access: SshAccess
    readonly signal: AbortSignal | undefined
  },
): Promise<void> {
  const { failure } = session.watch
  const signal = combineSignals(options.signal, failure)
  requireUnchanged(session)
  if (machine.spec.identity === 'own') await quiesceGuest(machine, session, options, signal)
  await saveState(machine, session, options.statePath, signal)
  await requireTpmSeed(machine, options.statePath)
  await session.stop('orderly')
}

/** Prepares a guest for clones that get their own identity, and checks its clock. */
async function quiesceGuest(
  machine: Machine,
  session: Session,
  options: { readonly isPrepared: boolean; readonly access: SshAccess },
  signal: AbortSignal,
): Promise<void> {
  const wait = { timeoutMs: AGENT_MS, signal }
  await requireSavable(machine, session, signal)
  if (machine.spec.image?.traits.identity === undefined) {
    const rate = await parkGuest(machine, { access: options.access, signal })
    if (isClockRight(rate) === false) throw wrongClockError(machine.name, rate.mean)
    return
  }
  const since = await readGuestClock(machine.agent, wait)
  const guestKhz = await runPark(machine, signal)
  const rate = await measureClockRate(machine.agent, since, wait)
  const isMeasurable = isPc(machine.spec.arch) && machine.host.accelerator === 'tcg' && !options.isPrepared
  const isWrong = isClockRight(rate) === false
  const measured = isWrong ? await measureExactly(machine.agent, since, wait) : rate
  const khz = isMeasurable && guestKhz !== undefined ? correctFrequency(guestKhz, measured) : undefined
  if (khz !== undefined) await rememberTscKhz(khz)
  if (isWrong) throw wrongClockError(machine.name, measured.mean)
}

/**
 * Quiesces (parks) the guest through its agent, and waits until it has parked. A request that is
 * not answered is retried; the guest parks only once.
 *
 * @returns the frequency of the time-stamp counter that the guest's kernel assumes, kHz, if it is
 * logged.
 */
async function runPark(machine: Machine, signal: AbortSignal): Promise<number | undefined> {
  const { agent, identityAgent } = machine
  const parked = identityAgent.waitFor(PARKED, {
    timeoutMs: stageLimitMs(machine, 'init') + AGENT_MS,
    signal,
  })
  parked.catch(() => {})
  const mark = `/run/withvm-parks-${randomBytes(4).toString('hex')}`
  const readKhz = `dmesg | sed -n 's/.*tsc: .* \\([0-9.]*\\) MHz.*/\\1/p'`
  const command = `${readKhz}; mkdir ${mark} 2>/dev/null || exit 0; setsid ${PARK} </dev/null >/dev/null 2>&1 &`
  for (let tries = 1; ; tries++) {
    try {
      const { stdout } = await agent.exec(command, { signal })
      await parked
      const khz = Number(stdout.trim().split('\n').at(-1)) * 1000
      return khz > 0 ? khz : undefined
    } catch (error) {
      signal.throwIfAborted()
      if (!isAgentSilent(error) || tries === PARK_ATTEMPTS) throw error
      machine.owner.log(
        `the guest agent of '${machine.name}' did not respond while its template was saved: retrying`,
      )
      await agent.ping({ timeoutMs: AGENT_MS, signal })
    }
  }
}

function measureExactly(
  agent: GuestAgent,
  since: ClockReading,
  wait: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<ClockRate> {
  const measure = async () => {
    const rate = compareClocks(since, await readGuestClock(agent, wait))
    const isExact = rate.max < rate.min * (1 + PRECISION)
    return isExact || performance.now() - since.afterMs > MEASURE_MS ? rate : undefined
  }
  return pollUntil(measure, { intervalMs: 100, signal: wait.signal })
}

function isAgentSilent(error: unknown): boolean {
  return error instanceof VMError && error.code === 'AGENT_UNAVAILABLE'
}

/** Saves the device state. RAM is in its files already. */
async function saveState(
  { sockets: { state: listener } }: Machine,
  session: Session,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  if (listener === undefined) throw new TypeError('only a template can be saved')
  const wait = { timeoutMs: SAVE_MS, signal }
  await session.qmp.execute('migrate-set-capabilities', ignoreShared(true), wait)
  await migrateToFile(session, listener, path, wait).catch((error: unknown) => {
    const got = (error instanceof VMError && error.details.got) || ''
    throw UNSAVABLE.test(got) ? saveRefusedError(got) : error
  })
}

/**
 * Returns the error of a template whose QEMU did not start, because the state of a device can never
 * be saved; undefined for other errors.
 */
export function findUnsavableDevice({ message }: VMError): VMError | undefined {
  const line = /^.{0,500}(?:only-|non-|not )migratable.{0,500}$/m.exec(message)?.[0]
  return line === undefined ? undefined : saveRefusedError(line.trim())
}

function saveRefusedError(got: string): VMError {
  return vmError('SAVE_UNSUPPORTED', {
    summary: `QEMU cannot save the state of this guest: ${got.replace(/^.*qemu-[\w-]+: /, '').replace(/\.$/, '')}.`,
    got,
    hint: "Omit the device that QEMU names, or set `start: 'cold'` to boot this guest each time.",
  })
}

function wrongClockError(name: string, rate: number): VMError {
  return vmError('GUEST_CLOCK_WRONG', {
    summary: `The clock of guest '${name}' runs at ${rate.toPrecision(3)} times the speed of the host's.`,
    expected: 'a difference of at most 2 %',
    got: `${(Math.abs(rate - 1) * 100).toPrecision(3)} % too ${rate > 1 ? 'fast' : 'slow'}`,
    hint: 'Run fewer guests at a time: the guest kernel measures its clock wrongly on a busy host. Remove `tsc_early_khz=` from `append`, if present.',
  })
}
