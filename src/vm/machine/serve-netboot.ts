import { openNetbootTree } from '../../image/netboot-trees.js'
import { captureLimit } from '../../net/capture-files.js'
import { NetbootServer } from '../../net/netboot-server.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Workspace } from '../workspace/workspace.js'

/** Starts the server of the network boot; undefined if the guest does not use one. */
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
