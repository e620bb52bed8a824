import { copyFile, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openNetbootTree } from '../../image/netboot-trees.js'
import { captureLimit } from '../../net/capture-files.js'
import { GuestForwards } from '../../net/guest-forwards.js'
import { NetbootServer } from '../../net/netboot-server.js'
import { ForwardCommand } from '../../qemu/forward-command.js'
import { TpmEmulator } from '../../qemu/tpm-emulator.js'
import type { Workspace } from '../workspace/workspace.js'
import type { GuestPlan, StartOrigin } from './guest-plan.js'

/** Servers and programs that a guest uses besides QEMU. They outlive a power-on. */
export interface MachineServices {
  /** Server of the network boot; undefined without one. */
  readonly netboot: NetbootServer | undefined
  /** Servers at the addresses of `guestfwd`. */
  readonly forwards: GuestForwards
  readonly tpm: TpmEmulator | undefined
}

/** Starts the server of the network boot; undefined if the guest does not use one. */
export async function serveNetboot(
  { spec: { arch, netboot, limits }, run: { signal } }: GuestPlan,
  workspace: Workspace,
): Promise<NetbootServer | undefined> {
  if (netboot === undefined) return undefined
  const trees = await Promise.all(netboot.trees.map((name) => openNetbootTree(name, { arch, signal })))
  return NetbootServer.start({
    spec: netboot,
    trees: [...trees, ...(netboot.root === undefined ? [] : [netboot.root])],
    runFolder: workspace.folder,
    sockets: workspace.sockets,
    captureBytes: captureLimit(limits.diskBytes),
  })
}

/** Listens for the connections of `guestfwd`. */
export function serveForwards(
  { spec: { network, furtherNetworks }, host: { user }, run: { log } }: GuestPlan,
  workspace: Workspace,
): Promise<GuestForwards> {
  const forwards = [network, ...furtherNetworks].flatMap(({ guestForwards }) => guestForwards)
  return GuestForwards.listen(forwards, {
    sockets: workspace.sockets,
    programDir: workspace.dir,
    startCommand: (line, connection) =>
      ForwardCommand.start(line, connection, { folder: workspace.folder, user }),
    log,
  })
}

/**
 * Creates the TPM emulator, which is started with each power-on; undefined without a TPM. It starts
 * with the state of the snapshot, if there is one.
 */
export async function createTpm(
  { spec: { tpm }, host: { swtpm: program, user } }: GuestPlan,
  workspace: Workspace,
  { snapshot, endsWithParent }: Pick<StartOrigin, 'snapshot'> & { readonly endsWithParent: boolean },
): Promise<TpmEmulator | undefined> {
  if (tpm === undefined || program === undefined) return undefined
  const { version } = tpm
  const stateDir = workspace.path('tpm')
  await mkdir(stateDir, { mode: 0o700 })
  if (snapshot?.tpmDir !== undefined) await copyFiles(snapshot.tpmDir, stateDir)
  const { sockets } = workspace
  const emulator = new TpmEmulator({ program, version, stateDir, sockets, endsWithParent, user })
  // Another user cannot enter the folder of the run yet.
  if (user === undefined) emulator.startEarly()
  return emulator
}

async function copyFiles(from: string, to: string): Promise<void> {
  for (const name of await readdir(from)) await copyFile(join(from, name), join(to, name))
}
