import { buildIdentityMessage } from '../../provisioning/guest-identity.js'
import { encodeHostKey } from '../machine/host-key.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { stageDeadlineMs } from './readiness.js'

/** QEMU's user network leads out of itself there. */
const USER_NETWORK_GATEWAY = [10, 0, 2, 2]
/** QEMU is given the state that it goes on from as its standard input. */
const STATE_FD = 0

/**
 * Lets a QEMU that waits for the state of a frozen machine take it and go on, and makes the guest a machine of its own
 * before anything else runs in it: its clock, its random numbers, its names, its keys.
 *
 * @throws {InfrastructureError} QMP_FAILED, QEMU_DIED when QEMU does not take the state.
 * @throws {GuestError} IDENTITY_AGENT_SILENT when the guest does not take its identity.
 */
export async function restoreGuest(
  machine: Machine,
  session: Session,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { qmp, watch } = session
  const either = signal === undefined ? watch.failure : AbortSignal.any([signal, watch.failure])
  const wait = { timeoutMs: stageDeadlineMs(machine, 'kernel'), signal: either }
  const resumed = qmp.waitForEvent('RESUME', wait)
  await Promise.all([
    qmp.execute('migrate-set-capabilities', ignoreShared(true), wait),
    qmp.execute('migrate-incoming', { uri: `fd:${STATE_FD}` }, wait),
  ])
  await resumed
  await Promise.all([
    machine.identityAgent.tell(identityMessage(machine), wait),
    // What is saved from now on, as a checkpoint, is to be whole.
    qmp.execute('migrate-set-capabilities', ignoreShared(false), wait),
  ])
  // Its log begins at its first boot, and so does this boot.
  session.bootMark = { offset: 0 }
  watch.enter('sshd')
}

/** What is in a file that both sides have is not copied. */
export function ignoreShared(state: boolean) {
  return { capabilities: [{ capability: 'x-ignore-shared', state }] }
}

function identityMessage({ spec, identity, keys, isTemplate }: Machine): Buffer {
  if (keys === undefined) throw new TypeError('a guest without keys of ours cannot be thawed')
  return buildIdentityMessage({
    hostname: spec.name,
    mac: identity.mac,
    machineId: identity.machineId,
    authorizedKey: keys.client.publicKey.trim(),
    hostKey: encodeHostKey(keys.host, spec.image?.traits.hostKeyFormat),
    takesLease: !isTemplate,
    gateway: spec.network.internet ? USER_NETWORK_GATEWAY : undefined,
  })
}
