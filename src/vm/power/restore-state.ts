import { generateSshKeyPair } from '../../channel/ssh/keys.js'
import { derivePublicKey } from '../../channel/ssh/private-key.js'
import { combineSignals } from '../../common/combine-signals.js'
import { buildIdentityMessage } from '../../provisioning/guest-identity.js'
import type { AgentMessage } from '../../provisioning/identity-agent/message.js'
import { findAgentArch } from '../../provisioning/identity-agent/target.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import { encodeHostKey } from '../machine/host-key.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { stageLimitMs } from './readiness.js'

/** Gateway of QEMU's user-mode network. */
const USER_NETWORK_GATEWAY = [10, 0, 2, 2]
/** File descriptor of the device state: QEMU's standard input. */
const STATE_FD = 0

/**
 * Restores a snapshot into a QEMU that waits for incoming state, and resumes it. Gives the guest
 * its own identity before anything else runs in it: clock, entropy, names, keys. A guest with a
 * shared identity is only resumed.
 *
 * @throws {InfrastructureError} QMP_FAILED, QEMU_DIED when QEMU does not accept the state.
 * @throws {GuestError} IDENTITY_AGENT_SILENT when the identity agent does not confirm the identity.
 * @throws {GuestError} IDENTITY_REFUSED when the guest cannot set its clock or name.
 */
export async function restoreGuest(
  machine: Machine,
  session: Session,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { qmp, watch } = session
  const either = combineSignals(signal, watch.failure)
  const wait = { timeoutMs: stageLimitMs(machine, 'kernel'), signal: either }
  const authorizedKey = await findAuthorizedKey(machine)
  const resumed = qmp.waitForEvent('RESUME', wait)
  await Promise.all([
    qmp.execute('migrate-set-capabilities', ignoreShared(true), wait),
    qmp.execute('migrate-incoming', { uri: `fd:${STATE_FD}` }, wait),
  ])
  await resumed
  const isCopy = machine.spec.identity === 'shared'
  await Promise.all([
    isCopy ? undefined : machine.identityAgent.send(identityMessage(machine, authorizedKey), wait),
    // Later saves, such as checkpoints, must include RAM.
    qmp.execute('migrate-set-capabilities', ignoreShared(false), wait),
  ])
  // This boot begins where the console log begins.
  session.bootMark = { offset: 0 }
  watch.enter('sshd')
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

function identityMessage(
  { spec, identity, isTemplate, clock }: Machine,
  authorizedKey: string,
): AgentMessage {
  const traits = spec.image?.traits.identity
  const arch = findAgentArch(spec.arch)
  if (traits === undefined || arch === undefined)
    throw new TypeError('a guest without identity agent of withvm cannot be restored')
  // A guest that the run has no key for needs a host key of its own too.
  const hostKey = identity.keys?.host ?? generateSshKeyPair()
  const values = {
    traits,
    hostname: spec.name,
    mac: identity.mac,
    machineId: identity.machineId,
    authorizedKey,
    hostKey: encodeHostKey(hostKey, traits.hostKey.format),
    afterwards: isTemplate ? 'nothing' : 'lease',
    gateway: spec.network.internet ? USER_NETWORK_GATEWAY : undefined,
  } as const
  return buildIdentityMessage(arch, values, clock.start())
}
