import { openNetbootTree } from '../../images/netboot/trees.js'
import { captureLimit } from '../net/capture-files.js'
import { NetbootServer } from '../net/netboot-server.js'
import { NETWORK_CARD } from '../qemu/argv/netboot.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { isLater } from './boot-stages.js'
import type { Machine } from './machine.js'
import type { Session } from './session.js'
import type { Workspace } from './workspace.js'

/** Makes ready what a guest is given by the network; undefined where it is given nothing. */
export async function serveNetboot(
  { arch, netboot, limits }: MachineSpec,
  workspace: Workspace,
  signal: AbortSignal | undefined,
): Promise<NetbootServer | undefined> {
  if (netboot === undefined) return undefined
  const made = await Promise.all(netboot.trees.map((name) => openNetbootTree(name, { arch, signal })))
  return NetbootServer.start({
    spec: netboot,
    trees: [...made, ...(netboot.root === undefined ? [] : [netboot.root])],
    runFolder: workspace.folder,
    sockets: workspace.sockets,
    captureBytes: captureLimit(limits.diskBytes),
  })
}

/** Follows what a guest asks for from now on. */
export async function followNetboot({ netboot }: Machine, { qmp, watch }: Session): Promise<void> {
  if (netboot === undefined) return
  netboot.follow(qmp, (error, stage) => {
    // A system that is up may fetch a file as often as it likes.
    if (stage === 'files' || !isLater(watch.stage, 'bootloader')) watch.fail(error)
  })
  // The firmware is told the order at each reset: what is set now counts from the next one on.
  if (netboot.spec.isFirst && netboot.spec.once) {
    await qmp.execute('qom-set', {
      path: `/machine/peripheral/${NETWORK_CARD}`,
      property: 'bootindex',
      value: -1,
    })
  }
}
