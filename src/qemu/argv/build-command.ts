import type { MachineSpec } from '../../spec/machine-spec.js'
import type { QemuCommand, Wiring } from '../command.js'
import { bootArgs } from './boot.js'
import { channelArgs, terminalArgs } from './channels.js'
import { cpuArgs } from './cpu.js'
import { snapshotDiskArgs, systemDiskArgs } from './disks.js'
import { identityArgs } from './identity.js'
import { machineArgs } from './machine.js'
import { memoryArgs, memoryFileArgs } from './memory.js'
import { networkArgs } from './network.js'

/** A guest that breaks out of QEMU can neither start programs nor gain privileges. */
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'

/** Builds the whole command line of a machine. Pure: the same input gives the same line. */
export function buildQemuCommand(spec: MachineSpec, wiring: Wiring): QemuCommand {
  const args = [
    ...identityArgs(spec),
    ...memoryFileArgs(spec, wiring),
    ...machineArgs(spec, wiring),
    ...cpuArgs(spec, wiring),
    ...memoryArgs(spec),
    ...bootArgs(spec),
    ...systemDiskArgs(spec, wiring),
    ...networkArgs(spec, wiring),
    ...channelArgs(wiring),
    ...(wiring.isIncoming ? ['-incoming', 'defer'] : []),
    ...(wiring.sandbox ? ['-sandbox', SANDBOX] : []),
    ...spec.qemuArgs,
  ]
  return { file: wiring.qemuPath, args }
}

/** Builds the command that boots the same machine in a terminal, without a harness. Pure. */
export function buildCommandByHand(
  spec: MachineSpec,
  wiring: Pick<Wiring, 'qemuPath' | 'accelerator' | 'hostPorts' | 'mac'>,
): QemuCommand {
  const args = [
    ...identityArgs(spec),
    ...machineArgs(spec, wiring),
    ...cpuArgs(spec, wiring),
    ...memoryArgs(spec),
    ...bootArgs(spec),
    ...snapshotDiskArgs(spec),
    ...networkArgs(spec, wiring),
    ...terminalArgs(),
    ...spec.qemuArgs,
  ]
  return { file: wiring.qemuPath, args }
}
