import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type VMOptions, withVM } from 'withvm'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { runCli } from '../../support/built-cli.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { unpackOnce } from '../../support/packages.js'

test('a QEMU command line with an empty disk and a TFTP folder boots from the network through the default card', async () => {
  const { pub, disk } = await makeBootServer()
  const lines: string[] = []
  await withVM(
    {
      commandLine: `qemu -hda ${disk} -boot n -net user,tftp=${pub},bootfile=/pxelinux.0`,
      log: (line) => void lines.push(line),
    },
    async (vm) => {
      await vm.serial.waitFor(/Command line: .*netbooted=yes.*/, { timeout: '60s' })
      expect(vm.importReport.replacedArguments).toEqual([
        {
          from: `-net user,tftp=${pub},bootfile=/pxelinux.0`,
          to: "network: { model: 'virtio-net-pci' }",
          reason: 'the command line specifies no card for this network, so the default card is used',
        },
      ])
      const blocks = await vm.qmp.execute('query-block')
      expect(blocks.map(({ inserted }) => inserted?.backing_file)).toContain(disk)
    },
  )
  expect(lines).toContain(
    `-net user,tftp=${pub},bootfile=/pxelinux.0 was translated to network: { model: 'virtio-net-pci' }: the command line specifies no card for this network, so the default card is used.`,
  )
})

/** Makes a TFTP folder with PXELINUX of the distribution's package and the kernel of `tiny`. */
async function makeBootServer(): Promise<{ pub: string; disk: string }> {
  const folder = ownTmpdir()
  const pub = join(folder, 'pub')
  mkdirSync(join(pub, 'pxelinux.cfg'), { recursive: true })
  const packages = await unpackOnce(['pxelinux', 'syslinux-common'])
  cpSync(join(packages, 'usr/lib/PXELINUX/pxelinux.0'), join(pub, 'pxelinux.0'))
  cpSync(join(packages, 'usr/lib/syslinux/modules/bios/ldlinux.c32'), join(pub, 'ldlinux.c32'))
  const { directBoot } = await resolveImage('tiny')
  cpSync(directBoot?.efiKernel ?? '', join(pub, 'vmlinuz'))
  cpSync(directBoot?.initrd ?? '', join(pub, 'initrd'))
  writeFileSync(
    join(pub, 'pxelinux.cfg/default'),
    'SERIAL 0 115200\nDEFAULT linux\nLABEL linux\n KERNEL vmlinuz\n APPEND initrd=initrd console=ttyS0 netbooted=yes\n',
  )
  const disk = join(folder, 'linux.img')
  writeFileSync(disk, Buffer.alloc(1024 ** 2))
  return { pub, disk }
}

test('a QEMU command line with deprecated options starts a guest, and withvm options override it', async () => {
  const options: VMOptions = {
    commandLine:
      'qemu-kvm -M pc -m 300 -no-kvm -localtime -net nic,vlan=0,model=virtio -net user,vlan=0 -redir tcp:0::7 -usbdevice tablet -soundhw ac97 -tdf -alt-grab -monitor stdio -drive file=tiny,if=virtio,boot=on',
    memory: '256M',
    start: 'cold',
    log: () => {},
  }
  await withVM(options, async (vm) => {
    const { stdout } = await vm.ssh`awk '/MemTotal/ { print ($2 < 262144) }' /proc/meminfo`
    expect(stdout).toBe('1')
    const usb = await vm.qmp.execute('human-monitor-command', { 'command-line': 'info usb' })
    expect(usb).toContain('QEMU USB Tablet')
    expect(vm.hostPort(7)).toBeGreaterThan(0)
    expect(vm.importReport.replacedArguments.map(({ from }) => from)).toEqual([
      '-no-kvm',
      '-localtime',
      '-redir tcp:0::7',
      '-usbdevice tablet',
      '-soundhw ac97',
      '-tdf',
      '-alt-grab',
      '-monitor stdio',
      '-drive file=tiny,if=virtio,boot=on',
    ])
  })
})

test('`withvm run --from` accepts a QEMU command line instead of an image', async () => {
  const run = await runCli([
    'run',
    '--from',
    'kvm -drive file=tiny,if=virtio -net nic,model=virtio -net user',
    '--',
    'uname',
    '-s',
  ])
  expect(run).toMatchObject({ stdout: 'Linux', exitCode: 0 })
})
