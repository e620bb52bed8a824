import type { Wiring } from '../../src/qemu/command.js'
import type { BaseImage } from '../../src/spec/base-image.js'

/** Image like `tiny`, whose files do not exist. */
export const SAMPLE_IMAGE: BaseImage = {
  name: 'tiny',
  fingerprint: 'content-1',
  disk: { path: '/cache/disk.qcow2', format: 'qcow2' },
  directBoot: { kernel: '/cache/kernel', initrd: '/cache/initrd', append: ['console=ttyS0', 'quiet'] },
  traits: {
    sshUser: 'root',
    credentials: 'smbios',
    hostKeyFormat: 'dropbear',
    hasAgent: true,
    mayHaveCloudInit: false,
    identity: {
      machineId: '/run/machine-id',
      authorizedKeys: '/root/.ssh/authorized_keys',
      hostKey: { path: '/run/withvm/host-key', format: 'dropbear' },
      restoredFifo: '/run/withvm/restored',
    },
    bootTimeFactor: 0.1,
  },
  defaults: { memoryBytes: 256 * 1024 ** 2, cpus: 1 },
}

/** Values that are determined at the start of a guest. */
export const SAMPLE_WIRING: Wiring = {
  qemuPath: '/usr/bin/qemu-system-x86_64',
  accelerator: 'tcg',
  sandbox: true,
  overlay: { path: '/run/disk.qcow2', format: 'qcow2' },
  gdbSocket: '/run/gdb.sock',
  qmpSocket: '/run/qmp.sock',
  serialSocket: '/run/serial.sock',
  serialLog: '/run/serial.log',
  mac: '52:54:00:12:34:56',
  identityAgentSocket: '/run/identity.sock',
  agentSocket: '/run/agent.sock',
  smbiosFiles: ['/run/smbios-0'],
  hostPorts: [40_022, 40_080, 40_053],
}
