import { hashInputs } from '../cache/cache.js'
import type { DiskSpec } from '../spec/disk-spec.js'
import type { MachineSpec, NetworkSpec } from '../spec/machine-spec.js'
import type { MachineHost } from '../vm/machine/guest-plan.js'
import { type HostProcessor, readHostProcessor } from '../vm/machine/host-processor.js'
import { isProbed } from './template-files.js'

/** Increase when the content of a template changes, or the way in which a clone resumes from it. */
const REVISION = 7

/**
 * Returns everything on which the RAM, the devices and the disks of a template depend. A difference
 * in any value means another template. Values that each clone receives (names, keys, ports) and the
 * host resources of its devices are not included.
 *
 * @param files identification of the author's files, see `identifyFiles()`.
 */
export function describeTemplate(
  spec: MachineSpec,
  host: MachineHost,
  files: readonly unknown[],
  processor: HostProcessor = readHostProcessor(),
): Readonly<Record<string, unknown>> {
  const { image, machine, cpu, cpus: cpuCount, topology, memoryBytes, memoryGrowth, numa } = spec
  const { directBoot, systemDisk, disks, network, furtherNetworks, display, devices } = spec
  return {
    revision: REVISION,
    image: image?.fingerprint,
    qemu: host.qemu.fingerprint,
    accelerator: host.accelerator,
    // With `runAs`, the files of the template belong to that user.
    user: host.user && [host.user.uid, host.user.gid],
    // Under TCG too, the guest's time-stamp counter is the host's: a clone on another processor
    // would have a wrong clock.
    hostCpu: processor.model,
    hostTsc: host.accelerator === 'tcg' ? roundFrequency(processor.tscKhz) : undefined,
    machine,
    cpu,
    cpuCount,
    topology,
    memoryBytes,
    memoryGrowth,
    numa,
    // The files of the author are identified by their content.
    boot: directBoot?.isCustom ? directBoot.append : directBoot,
    files,
    systemDisk,
    disks: disks.map(describeDisk),
    display: { vga: display.vga, tablet: display.tablet },
    devices,
    card: describeCard(network),
    // A clone with the card of its template requests no address itself.
    identity: spec.identity === 'shared' ? [spec.identity, network.addresses] : undefined,
    probed: isProbed(spec) ? describeProbed(spec) : undefined,
    furtherCards: furtherNetworks.map((card) => [describeCard(card), ...describeNetwork(card)]),
    ...describeOptionalParts(spec),
  }
}

/** Returns what an image without an identity agent gets at boot, and how its clones are reached. */
function describeProbed({ network, cloudInit, ssh, ready }: MachineSpec) {
  const { user, guestPort, login } = ssh ?? {}
  // Hashed, because user data may contain secrets.
  const seed = cloudInit === undefined ? undefined : hashInputs(cloudInit)
  return [network.addresses, network.mac, seed, user, guestPort, login === undefined, ready]
}

/** Returns the parts of a machine that few guests have. */
function describeOptionalParts(spec: MachineSpec) {
  const { firmware, tpm, smbios, rtc, ports, login, ssh, ready, qemuArgs } = spec
  const isCustom = typeof ready === 'function' || ready instanceof RegExp
  return {
    firmware: firmware.type === 'uefi' ? [firmware.type, firmware.secureBoot] : firmware.type,
    tpm,
    smbios,
    rtc,
    ports,
    login: login && [login.user, login.password, String(login.prompt)],
    // The boot of the template shows that the guest accepts this login.
    ssh: ssh?.login && [ssh.user, hashInputs([ssh.login.password, String(ssh.login.privateKey)])],
    ready: isCustom ? String(ready) : undefined,
    qemuArgs,
  }
}

/** The content is part of the identified files. */
function describeDisk({ content: _, ...connection }: DiskSpec) {
  return connection
}

/** Returns the network of a further card. A clone gets its own MAC address on a LAN. */
function describeNetwork({ link, mac, addresses }: NetworkSpec) {
  return link === undefined ? [mac, addresses] : ['LAN']
}

/** Returns the hardware of a card. Its network belongs to the clone. */
function describeCard({ model, id, address, vectors }: NetworkSpec) {
  return { model, id, address, vectors }
}

/** Rounds to steps of one percent: the clock of a clone may deviate by two percent. */
function roundFrequency(khz: number | undefined): number | undefined {
  return khz === undefined ? undefined : Math.round(Math.log(khz) / Math.log(1.01))
}
