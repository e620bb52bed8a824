import { setTimeout as sleep } from 'node:timers/promises'
import {
  type ClockRate,
  type ClockReading,
  compareClocks,
  isClockRight,
} from '../../channel/agent/guest-clock.js'
import { pollUntil } from '../../common/poll.js'
import { vmError } from '../../errors.js'
import { PARKED } from '../../provisioning/guest-identity.js'
import { type AgentArch, findAgentArch } from '../../provisioning/identity-agent/target.js'
import { buildParkScript } from '../../provisioning/park-script.js'
import {
  buildClockReading,
  findParkFailure,
  type ProbedIdentity,
  parseClockReading,
  parseReport,
} from '../../provisioning/probed-identity.js'
import type { Machine } from '../machine/machine.js'
import { isReadyOverSsh, stageLimitMs } from './readiness.js'
import { sendIdentity } from './restore-state.js'
import { openRootChannel, type RootChannel } from './root-channel.js'
import type { SshAccess } from './ssh-access.js'

/** Additional time for a script, whose connection may be slow, in milliseconds. */
const SCRIPT_MS = 120_000
/** Interval and maximum duration of the measurement of the clock, in milliseconds. */
const CLOCK_INTERVAL_MS = 200
const CLOCK_MS = 10_000
/** Time for the guest to close a connection that this process has closed, in milliseconds. */
const CLOSED_MS = 1000

const FAILURES: Readonly<Record<string, string>> = {
  'not-root': 'the user who is logged in is not root',
  'no-port': 'the guest has no driver for virtio-serial ports',
  'port-used': 'another program uses the virtio-serial port of withvm',
  'no-memory': 'the guest has no file system in RAM',
  'no-host-key': 'the SSH server has no Ed25519 host key',
  'no-restart': 'the SSH server cannot be started again',
  incomplete: 'the script that quiesces the guest did not complete',
}

/**
 * Quiesces a guest whose image contains no identity agent: starts the agent from RAM, finds the
 * places of the guest's identity, and changes them once. Only a guest that has accepted another
 * identity is saved.
 *
 * @returns the rate of the guest's clock.
 * @throws {UsageError} SAVE_UNSUPPORTED when clones of this guest could not get their identity.
 * @throws {GuestError} IDENTITY_AGENT_SILENT when the agent does not start.
 */
export async function parkGuest(
  machine: Machine,
  { access, signal }: { readonly access: SshAccess; readonly signal: AbortSignal },
): Promise<ClockRate> {
  const arch = findAgentArch(machine.spec.arch)
  if (arch === undefined) throw new TypeError('there is no identity agent for this architecture')
  const channel = await openRootChannel(machine, access, signal)
  // A clone that is saved again, after a preparation, has its agent already.
  if (machine.probed === undefined) machine.probed = await startAgent(machine, channel, { arch, signal })
  else await channel.run('sync', { timeoutMs: SCRIPT_MS, signal })
  channel.close()
  access.close('the guest is saved')
  await rehearse(machine, access, signal)
  return measureClock(machine, arch, signal)
}

async function startAgent(
  machine: Machine,
  channel: RootChannel,
  { arch, signal }: { readonly arch: AgentArch; readonly signal: AbortSignal },
): Promise<ProbedIdentity> {
  const bootMs = stageLimitMs(machine, 'cloud-init')
  const timeoutMs = bootMs + SCRIPT_MS
  const parked = machine.identityAgent.waitFor(PARKED, { timeoutMs: 2 * timeoutMs, signal })
  parked.catch(() => {})
  const { keys } = machine.identity
  const script = buildParkScript({
    arch,
    announcement: PARKED,
    authorizedKey: keys?.client.publicKey.trim(),
    sshPort: machine.spec.ssh?.guestPort,
    bootSeconds: bootMs / 1000,
  })
  const report = await channel.run(script, { timeoutMs, signal })
  const failure = findParkFailure(report)
  if (failure !== undefined) throw notParkedError(FAILURES[failure] ?? failure, report)
  channel.close()
  await parked
  const probed = parseReport(report)
  if (keys !== undefined && isReadyOverSsh(machine.spec) && probed.authorizedKeys.length === 0)
    throw notParkedError('no file with the SSH key of this run was found', report)
  return probed
}

/**
 * Gives the guest an identity as a clone gets it, and logs in with it. The first connection of a
 * clone then also finds its programs in RAM.
 */
async function rehearse(machine: Machine, access: SshAccess, signal: AbortSignal): Promise<void> {
  await sendIdentity(machine, { timeoutMs: stageLimitMs(machine, 'kernel'), signal })
  if (!isReadyOverSsh(machine.spec)) return
  const connect = async () => {
    const client = await access.client(undefined, signal)
    await client.exec('true', { signal, reject: false })
    return true
  }
  const timeoutMs = stageLimitMs(machine, 'login')
  let lastError: unknown
  const isReached = await pollUntil(
    () =>
      connect().catch((error: unknown) => {
        signal.throwIfAborted()
        lastError = error
        return undefined
      }),
    { intervalMs: CLOCK_INTERVAL_MS, timeoutMs, signal },
  )
  access.close('the guest is saved')
  if (!isReached)
    throw notParkedError('the SSH server does not accept the keys of a clone', String(lastError))
  await sleep(CLOSED_MS, undefined, { signal })
}

async function measureClock(machine: Machine, arch: AgentArch, signal: AbortSignal): Promise<ClockRate> {
  const read = async (): Promise<ClockReading> => {
    const beforeMs = performance.now()
    const answer = await machine.identityAgent.send(buildClockReading(arch), { timeoutMs: CLOCK_MS, signal })
    return { beforeMs, guestMs: parseClockReading(arch, answer), afterMs: performance.now() }
  }
  const since = await read()
  return pollUntil(
    async () => {
      const reading = await read()
      const rate = compareClocks(since, reading)
      const isOver = isClockRight(rate) !== undefined || reading.afterMs - since.afterMs > CLOCK_MS
      return isOver ? rate : undefined
    },
    { intervalMs: CLOCK_INTERVAL_MS, signal },
  )
}

function notParkedError(got: string, output: string) {
  return vmError('SAVE_UNSUPPORTED', {
    summary: `Clones of this guest could not get their own identity: ${got}.`,
    evidence: [{ label: 'Output of the guest', text: output.trim().slice(-2000) }],
    hint: "Set `start: 'cold'` for this guest; or, if its clones may be exact copies, `start: 'warm'` and `identity: 'shared'`.",
  })
}
