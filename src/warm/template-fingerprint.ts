import type { MachineSpec } from '../spec/machine-spec.js'
import { type HostProcessor, readHostProcessor } from '../vm/machine/host-processor.js'
import type { MachineHost } from '../vm/machine/machine.js'

/** Count up when what a template is made of, or how a guest goes on from it, changes. */
const REVISION = 5

/**
 * Everything that the RAM, the devices and the disk of a frozen guest depend on: where anything differs, it is another
 * template. What each clone has of its own (names, keys, ports) and what lies behind its devices is not among it.
 */
export function describeTemplate(
  spec: MachineSpec<never>,
  host: MachineHost,
  processor: HostProcessor = readHostProcessor(),
): Readonly<Record<string, unknown>> {
  const { image, machine, cpu, cpus: cpuCount, topology, memoryBytes, memoryGrowth } = spec
  const { directBoot, systemDisk, network, display, devices } = spec
  return {
    revision: REVISION,
    image: image?.identity,
    qemu: host.qemu.identity,
    accelerator: host.accelerator,
    // Its files are that user's.
    user: host.user && [host.user.uid, host.user.gid],
    // Its time-stamp counter is the host's, under TCG too: a clone on another processor would have a wrong clock.
    hostCpu: processor.model,
    hostTsc: host.accelerator === 'tcg' ? roundFrequency(processor.tscKhz) : undefined,
    machine,
    cpu,
    cpuCount,
    topology,
    memoryBytes,
    memoryGrowth,
    directBoot,
    systemDisk,
    display: { vga: display.vga, tablet: display.tablet },
    devices,
    card: network.model,
  }
}

/** Steps of one percent: a clone's clock may be wrong by two. */
function roundFrequency(khz: number | undefined): number | undefined {
  return khz === undefined ? undefined : Math.round(Math.log(khz) / Math.log(1.01))
}
