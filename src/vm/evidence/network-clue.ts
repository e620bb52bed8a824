import { describeArch } from '../../spec/architectures.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { isLater } from '../watch/boot-stages.js'

/** A QEMU that is stuck is no reason to wait for its answer. */
const ANSWER_MS = 1000

interface VirtioDevice {
  readonly name: string
  readonly path: string
}

/**
 * Why a guest whose init runs is not reached by SSH, as far as it can be seen from outside: whether its kernel drives the
 * card, and what became of a connection to it. Undefined where that tells nothing.
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
    return `port ${spec.ssh?.guestPort} of the guest is closed: its network works, but no SSH server listens.`
  const isDriven = await isCardDriven(session)
  if (isDriven === undefined && spec.network.model !== describeArch(spec.arch).card.model)
    return `does the guest's kernel have a driver for its network card, ${spec.network.model} (\`network.model\`)?`
  if (isDriven === false)
    return "the guest's kernel does not drive its network card: the module virtio_net has to be in the kernel, or loaded by its initrd or init."
  if (isDriven && sshProbe !== undefined)
    return "the guest's kernel drives its network card, but nobody answers at the address that QEMU's DHCP server gives: does the guest ask for one?"
  return undefined
}

/** Whether a driver of the guest has started its virtio network card; undefined for another card, and where QEMU does not tell. */
async function isCardDriven({ qmp }: Session): Promise<boolean | undefined> {
  const options = { timeoutMs: ANSWER_MS }
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
