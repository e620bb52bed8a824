import { readFile } from 'node:fs/promises'
import { pollUntil } from '../../common/poll.js'
import { vmError } from '../../errors.js'
import { FILE_BYTES } from '../../provisioning/guest-identity.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Machine } from '../machine/machine.js'
import { hasTpmSeed } from '../machine/tpm-seed.js'
import type { Session } from '../session/session.js'
import { isLater } from '../watch/boot-stages.js'
import { hasCustomReady, stageLimitMs } from './readiness.js'
import { deriveLoginKey } from './restore-state.js'

/** Interval between two checks of the port of the identity agent, in milliseconds. */
const POLL_MS = 50
/** Character device of the identity agent's port. */
const IDENTITY_PORT = 'identity'

/**
 * Checks that clones can receive the key of their author, before a guest boots for a template.
 *
 * @throws {UsageError} SAVE_UNSUPPORTED when the public key is too long.
 */
export async function requireShortKey(spec: MachineSpec): Promise<void> {
  // Guests of other images keep the keys of their author.
  if (spec.identity === 'shared' || spec.image?.traits.identity === undefined) return
  const key = await deriveLoginKey(spec)
  if (key.length <= FILE_BYTES.authorizedKeys) return
  throw vmError('SAVE_UNSUPPORTED', {
    summary: `The public key of \`ssh.privateKey\` has ${key.length} characters, more than a clone can receive.`,
    hint: 'Use an Ed25519 or ECDSA key, or omit `ssh.privateKey`.',
  })
}

/**
 * Checks that the machine is the one that its options describe, because clones have that machine.
 *
 * @throws {UsageError} SAVE_UNSUPPORTED when a preparation has changed it.
 */
export function requireUnchanged({ pluggedDevices, hasChangedMedia }: Session): void {
  const [plugged] = pluggedDevices.values()
  if (plugged === undefined && !hasChangedMedia) return
  throw vmError('SAVE_UNSUPPORTED', {
    summary: `A preparation has ${plugged === undefined ? 'changed a medium' : `plugged in ${plugged}`}, which clones would not have.`,
    hint: 'Add the device or medium to the options of the guest, or change it in the test.',
  })
}

/**
 * Checks that a ready guest can be saved as a template.
 *
 * @throws {UsageError} SAVE_UNSUPPORTED when its tests observe the boot, or its clones could not
 *   get their identity.
 */
export async function requireSavable(machine: Machine, session: Session, signal: AbortSignal): Promise<void> {
  const { stage } = session.watch
  if (hasCustomReady(machine) && !isLater(stage, 'init')) {
    throw vmError('SAVE_UNSUPPORTED', {
      summary: `The guest is ready before its init system has started, in stage '${stage}', so its tests observe the boot.`,
      hint: "Set `start: 'cold'` for tests that observe the boot.",
    })
  }
  // A kernel of the author may lack the driver of the port.
  const hasAgent = machine.spec.image?.traits.identity !== undefined
  if (
    hasAgent &&
    machine.spec.directBoot?.isCustom === true &&
    !(await opensIdentityPort(machine, session, signal))
  ) {
    throw vmError('SAVE_UNSUPPORTED', {
      summary: 'The identity agent does not run in this guest.',
      hint: 'Use a kernel with the drivers for virtio-serial ports (`CONFIG_VIRTIO_CONSOLE`).',
    })
  }
}

/**
 * Checks that the TPMs of clones can get different random numbers.
 *
 * @throws {UsageError} SAVE_UNSUPPORTED when the saved state of the TPM has an unknown format.
 */
export async function requireTpmSeed({ spec }: Machine, statePath: string): Promise<void> {
  if (spec.tpm?.version !== '2.0' || hasTpmSeed(await readFile(statePath))) return
  throw vmError('SAVE_UNSUPPORTED', {
    summary: 'The state of the TPM has an unknown format, so clones would return the same random numbers.',
    hint: "Set `start: 'cold'`, and report the version of swtpm.",
  })
}

async function opensIdentityPort(machine: Machine, { qmp }: Session, signal: AbortSignal): Promise<boolean> {
  const isOpen = async () => {
    const ports = await qmp.execute('query-chardev', {}, { signal })
    return ports.some((port) => port.label === IDENTITY_PORT && port['frontend-open']) || undefined
  }
  const timeoutMs = stageLimitMs(machine, 'init')
  return (await pollUntil(isOpen, { intervalMs: POLL_MS, timeoutMs, signal })) === true
}
