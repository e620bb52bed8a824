import type { IdentityAgentWait } from '../../channel/identity-agent/identity-agent.js'
import { generateSshKeyPair } from '../../channel/ssh/keys.js'
import { derivePublicKey } from '../../channel/ssh/private-key.js'
import { combineSignals } from '../../common/combine-signals.js'
import { pollUntil } from '../../common/poll.js'
import { buildClockMessage, buildIdentityMessage } from '../../provisioning/guest-identity.js'
import type { AgentMessage } from '../../provisioning/identity-agent/message.js'
import { findAgentArch } from '../../provisioning/identity-agent/target.js'
import { buildProbedMessage } from '../../provisioning/probed-identity.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { ForkedState } from '../machine/forked-state.js'
import type { MachineSnapshot } from '../machine/guest-plan.js'
import { encodeHostKey } from '../machine/host-key.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { stageLimitMs } from './readiness.js'

interface Wait {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Gateway of QEMU's user-mode network. */
const USER_NETWORK_GATEWAY = [10, 0, 2, 2]
/** File descriptor of the device state: QEMU's standard input. */
const STATE_FD = 0

/** Polling interval of a QEMU that loads RAM, in milliseconds. */
const POLL_MS = 5

/**
 * Restores a snapshot into a QEMU that waits for incoming state, and resumes it. Gives a clone of a
 * template its own identity before anything else runs in it: clock, entropy, names, keys. A guest
 * with a shared identity is only resumed.
 *
 * @throws {InfrastructureError} QMP_FAILED, QEMU_DIED when QEMU does not accept the state.
 * @throws {GuestError} IDENTITY_AGENT_SILENT when the identity agent does not confirm the identity.
 * @throws {GuestError} IDENTITY_REFUSED when the guest cannot set its clock or name.
 */
export async function restoreGuest(
  machine: Machine,
  session: Session,
  snapshot: MachineSnapshot,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { watch } = session
  const either = combineSignals(signal, watch.failure)
  const wait = { timeoutMs: stageLimitMs(machine, 'kernel'), signal: either }
  await (snapshot.isRamInState ? loadRamAndState(session, wait) : loadState(session, wait))
  session.restoredFrom = snapshot
  await Promise.all([
    identify(machine, snapshot.fork, wait),
    // Later saves, such as checkpoints, must include RAM.
    session.qmp.execute('migrate-set-capabilities', ignoreShared(false), wait),
  ])
  // The boot of a template begins where the console log begins.
  session.bootMark = { offset: snapshot.fork?.bootOffset ?? 0 }
  session.isRestored = true
  watch.enter('sshd')
}

/**
 * Loads device state whose RAM is in a file. The guest was saved running, so it resumes by itself.
 */
async function loadState({ qmp }: Session, wait: Wait): Promise<void> {
  const resumed = qmp.waitForEvent('RESUME', wait)
  await Promise.all([
    qmp.execute('migrate-set-capabilities', ignoreShared(true), wait),
    qmp.execute('migrate-incoming', { uri: `fd:${STATE_FD}` }, wait),
  ])
  await resumed
}

/** Loads device state and RAM of a guest that was saved while it was paused. */
async function loadRamAndState(session: Session, wait: Wait): Promise<void> {
  const { qmp } = session
  await qmp.execute('migrate-incoming', { uri: `fd:${STATE_FD}` }, wait)
  const isLoaded = async () => {
    const { status } = await qmp.execute('query-status', {}, wait)
    return status === 'inmigrate' ? undefined : true
  }
  await pollUntil(isLoaded, { intervalMs: POLL_MS, signal: wait.signal })
  await session.resume(wait)
}

/**
 * Gives a restored guest its identity. Children of a fork that keep the identity of their parent
 * need only the present time and other random numbers.
 */
async function identify(machine: Machine, fork: ForkedState | undefined, wait: Wait): Promise<void> {
  const { spec, identityAgent } = machine
  const arch = findAgentArch(spec.arch)
  if (spec.identity === 'shared') return
  if (fork?.identityOfChildren !== 'same') {
    await sendIdentity(machine, wait, fork)
  } else if (arch !== undefined && hasIdentityAgent(machine)) {
    await identityAgent.send(buildClockMessage(arch, Date.now() + fork.clockOffsetMs), wait)
  }
}

/** Returns true if the guest can get another identity while it runs. */
export function canGetIdentity(machine: Machine): boolean {
  const { spec, identity } = machine
  return (
    identity.keys !== undefined &&
    spec.identity === 'own' &&
    hasIdentityAgent(machine) &&
    findAgentArch(spec.arch) !== undefined
  )
}

/** Returns true if the identity agent is part of the image, or was brought into the template. */
export function hasIdentityAgent({ spec, probed }: Machine): boolean {
  return spec.image?.traits.identity !== undefined || probed !== undefined
}

/** Capability that excludes RAM in shared files from a migration. */
export function ignoreShared(state: boolean) {
  return { capabilities: [{ capability: 'x-ignore-shared', state }] }
}

/**
 * Returns the key that logs in to a clone: that of the run, or the public key of the login in the
 * options, because a template contains no authorized keys. Empty without a key.
 */
async function findAuthorizedKey({ spec, identity: { keys } }: Machine): Promise<string> {
  return keys?.client.publicKey.trim() ?? deriveLoginKey(spec)
}

/** Returns the public key of the login in the options; empty without a key. */
export async function deriveLoginKey({ ssh }: MachineSpec): Promise<string> {
  const { privateKey, passphrase } = ssh?.login ?? {}
  return privateKey === undefined ? '' : ((await derivePublicKey(privateKey, passphrase)) ?? '')
}

/**
 * Gives a quiesced or forked guest the identity of its machine.
 *
 * @throws {GuestError} IDENTITY_AGENT_SILENT, IDENTITY_REFUSED.
 */
export async function sendIdentity(
  machine: Machine,
  wait: IdentityAgentWait,
  fork?: ForkedState | undefined,
): Promise<void> {
  await machine.identityAgent.send(await identityMessage(machine, fork), wait)
  machine.isIdentitySet = true
}

/**
 * Returns the MAC addresses of the cards on a LAN. All cards are of one model: see COLD_REASONS.
 */
function findLanMacs({ spec, identity: { furtherMacs } }: Machine): ReadonlyMap<string, string> {
  const macs = new Map<string, string>()
  for (const [index, mac] of furtherMacs.entries())
    if (spec.furtherNetworks[index]?.link !== undefined) macs.set(`eth${index + 1}`, mac)
  return macs
}

async function identityMessage(machine: Machine, fork: ForkedState | undefined): Promise<AgentMessage> {
  const { spec, identity, isTemplate, clock, probed } = machine
  const traits = spec.image?.traits.identity
  const arch = findAgentArch(spec.arch)
  const authorizedKey = await findAuthorizedKey(machine)
  // A guest that the run has no key for needs a host key of its own too.
  const hostKey = identity.keys?.host ?? generateSshKeyPair()
  const names = { hostname: spec.name, machineId: identity.machineId, authorizedKey }
  const now = fork ? Date.now() + fork.clockOffsetMs : clock.start()
  if (probed !== undefined && arch !== undefined) {
    const encoded = encodeHostKey(hostKey, probed.hostKey?.format)
    const publicHostKey = hostKey.publicKey.trim()
    return buildProbedMessage(arch, probed, { ...names, hostKey: encoded, publicHostKey }, now)
  }
  if (traits === undefined || arch === undefined)
    throw new TypeError('a guest without an identity agent cannot be restored')
  const values = {
    ...names,
    traits,
    mac: identity.mac,
    // A child of a fork keeps the addresses of its parent.
    lanMacs: fork === undefined ? findLanMacs(machine) : new Map(),
    hostKey: encodeHostKey(hostKey, traits.hostKey.format),
    // Only a template has parked.
    afterwards: fork !== undefined ? undefined : isTemplate ? 'nothing' : 'lease',
    gateway: spec.network.internet ? USER_NETWORK_GATEWAY : undefined,
  } as const
  return buildIdentityMessage(arch, values, now)
}
