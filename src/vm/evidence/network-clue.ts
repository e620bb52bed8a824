import { describeArch } from '../../spec/architectures.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { isLater } from '../watch/boot-stages.js'

/** Timeout of QMP queries, milliseconds: QEMU may be stuck. */
const QUERY_TIMEOUT_MS = 1000

interface VirtioDevice {
  readonly name: string
  readonly path: string
}

/**
 * Returns a hint for a guest that runs its init but cannot be reached over SSH, based on the state
 * of its network card and the result of a connection. Undefined if these do not explain it.
 */
export async function findNetworkClue(machine: Machine, session: Session): Promise<string | undefined> {
  const { stage, sshProbe } = session.watch
  const { spec } = machine
  if (
    (spec.ready !== 'ssh' && spec.ready !== 'cloud-init') ||
    !isLater(stage, 'kernel') ||
    isLater(stage, 'sshd')
  )
    return undefined
  if (sshProbe?.isRefused)
    return `Start an SSH server in the guest: its network works, but its port ${spec.ssh?.guestPort} is closed.`
  const isDriven = await isCardDriven(session)
  if (isDriven === undefined && spec.network.model !== describeArch(spec.arch).card.model)
    return `Check that the guest's kernel has a driver for its network card, ${spec.network.model} (\`network.model\`).`
  if (isDriven === false)
    return 'Build the module virtio_net into the kernel, or load it in the initrd or init: the guest does not drive its network card.'
  if (isDriven && sshProbe !== undefined)
    return "Check that the guest requests an address over DHCP: it drives its network card, but does not answer at the address that QEMU's DHCP server assigns."
  return undefined
}

/**
 * Returns true if a driver in the guest has started the virtio network card. Undefined for other
 * cards, and if QEMU does not report it.
 */
async function isCardDriven({ qmp }: Session): Promise<boolean | undefined> {
  const options = { timeoutMs: QUERY_TIMEOUT_MS }
  try {
    const devices = (await qmp.execute('x-query-virtio', {}, options)) as readonly VirtioDevice[]
    const card = devices.find(({ name }) => name === 'virtio-net')
    if (card === undefined) return undefined
    const status = await qmp.execute('x-query-virtio-status', { path: card.path }, options)
    return (status as { readonly started: boolean }).started
  } catch {
    return undefined
  }
}
