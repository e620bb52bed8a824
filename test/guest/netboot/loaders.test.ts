import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'vitest'
import { launchVM, netboot } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { makeBootProgram } from '../../support/boot-program.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const MAC = '52:54:00:aa:bb:cc'

describe('iPXE', () => {
  test('is given files by TFTP and HTTP, and files that are made when it asks', async () => {
    await using vm = await launchVM({
      network: { mac: MAC },
      netboot: {
        bootfile: 'boot.ipxe',
        http: { faults: { 'slow/mine': { cutAfter: 7, times: 1 } } },
        files: {
          'boot.ipxe': ({ mac, firmware }) =>
            [
              '#!ipxe',
              `echo I am ${mac} with ${firmware}`,
              'imgfetch tftp://10.0.2.2/dir/text.txt',
              'imgfetch http://10.0.2.80/dir/text.txt',
              'imgfetch http://10.0.2.80/absent || echo that is absent',
              'imgfetch http://10.0.2.80/slow/mine || echo that was cut',
              'imgfetch http://10.0.2.80/slow/mine && echo that was whole',
              'imgfetch tftp://10.0.2.2/absent || echo all is done',
              'sleep 60',
            ].join('\n'),
          'dir/text.txt': 'a text\n'.repeat(1000),
          'slow/mine': async ({ mac }) => `for ${mac}`,
        },
      },
      ready: /^all is done/,
    })
    await expect(vm).toHaveGotLease({ mac: MAC, address: '10.0.2.15', firmware: 'bios', userClass: 'iPXE' })
    await expect(vm).toHaveFetchedInOrder(['boot.ipxe', 'dir/text.txt', '/dir/text.txt', 'slow/mine'])
    await expect(vm).toHaveFetched('dir/text.txt', { protocol: 'tftp' })
    await expect(vm).not.toHaveFetched('absent')
    await expect(vm.serial).toSeeInOrder([
      `I am ${MAC} with bios`,
      'that is absent',
      'that was cut',
      'that was whole',
    ])
    expect(
      vm.netboot.requests.map(({ protocol, path, status, code, bytes }) => [
        protocol,
        path,
        status,
        code,
        bytes,
      ]),
    ).toEqual([
      ['tftp', 'boot.ipxe', 'complete', undefined, expect.any(Number)],
      ['tftp', 'dir/text.txt', 'complete', undefined, 7000],
      ['http', '/dir/text.txt', 'complete', 200, 7000],
      ['http', '/absent', 'not found', 404, 0],
      ['http', '/slow/mine', 'failed', 200, 7],
      ['http', '/slow/mine', 'complete', 200, 21],
      ['tftp', 'absent', 'not found', 1, 0],
    ])
    expect(vm.netboot.dhcp).toMatchObject([
      { mac: MAC, isGranted: true, bootfile: 'boot.ipxe', vendorClass: 'PXEClient:Arch:00000:UNDI:002001' },
    ])
    expect(vm.netboot.problem).toBe(
      'TFTP: absent: file not found; the folder contains boot.ipxe, dir/text.txt, slow/mine',
    )
  })

  test('boots a script by HTTP alone, on an rtl8139, and fetches a file by IPv6', async () => {
    await using vm = await launchVM({
      network: { model: 'rtl8139', internet: true }, // QEMU answers by IPv6 in an open network alone
      netboot: netboot.ipxe('#!ipxe\nimgfetch tftp://[fec0::2]/a\necho by HTTP alone.\nsleep 60', {
        via: 'http',
        files: { a: 'text' },
      }),
      ready: /^by HTTP alone/,
    })
    expect(vm.netboot.requests.map(({ protocol, path }) => `${protocol} ${path}`)).toEqual([
      'http /boot.ipxe',
      'tftp a',
    ])
  })

  test('boots once from the network, and then the disk', async () => {
    const disk = join(ownTmpdir(), 'disk.img')
    writeFileSync(disk, Buffer.concat([makeBootProgram('this is the disk.'), Buffer.alloc(1024 * 1024)]))
    await using vm = await launchVM({
      image: { path: disk, format: 'raw' },
      ssh: false,
      netboot: { ...netboot.ipxe('#!ipxe\necho this is the network.\nreboot'), once: true },
      ready: /^this is the disk/,
    })
    await expect(vm.serial).toSeeInOrder(['this is the network', 'this is the disk'])
    const asked = vm.netboot.requests.length
    await vm.powerCut()
    await vm.start()
    expect(vm.netboot.requests).toHaveLength(asked)
  })
})

describe('PXELINUX', () => {
  test('shows a menu, on an e1000, of which the second entry is chosen by a key', async () => {
    const folder = ownTmpdir()
    for (const name of ['first', 'second'])
      writeFileSync(join(folder, `${name}.0`), makeBootProgram(`this is the ${name}.`))
    await using vm = await launchVM({
      network: { model: 'e1000' },
      netboot: {
        ...netboot.pxelinux({
          config: [
            'ui menu.c32',
            'menu title What to boot',
            'label first',
            '  kernel first.0',
            'label second',
            '  kernel second.0',
          ].join('\n'),
        }),
        root: folder,
      },
    })
    await expect(vm.serial).toShow('What to boot')
    await expect(vm.serial).toShow(/second/)
    await vm.keyboard.press('Down', 'Enter')
    await expect(vm.serial).toSee(/this is the second/)
    await expect(vm).toHaveFetchedInOrder([
      'pxelinux.0',
      'ldlinux.c32',
      'pxelinux.cfg/default',
      'menu.c32',
      'second.0',
    ])
    await expect(vm).not.toHaveFetched('first.0')
  })

  test.for([
    { vga: 'std', times: 1 },
    // SeaBIOS copies the screen to the serial port, on which the loader prints by itself.
    { vga: 'none', times: 2 },
  ] as const)('with SERIAL and vga: $vga prints a line $times times', async ({ vga, times }) => {
    await using vm = await launchVM({
      vga,
      netboot: netboot.pxelinux({
        config: 'serial 0 115200\nprompt 1\ntimeout 0\nlabel x\n  kernel x.0',
      }),
      ready: /boot:/,
    })
    expect(vm.serial.text.match(/^PXELINUX \d/gm)).toHaveLength(times)
  })

  test('starts memtest86+', async () => {
    await using vm = await launchVM({
      netboot: {
        trees: ['memtest'],
        bootfile: 'boot.ipxe',
        files: { 'boot.ipxe': '#!ipxe\nkernel memtest.bin console=ttyS0,115200\nboot' },
      },
      memory: '64M',
    })
    await expect(vm.serial).toShow(/Memtest86\+/)
    await expect(vm).toHaveFetched('memtest.bin')
  })
})

describe('GRUB', () => {
  test('boots by BIOS, with a configuration for this card', async () => {
    await using vm = await launchVM({
      network: { mac: MAC },
      netboot: netboot.grub({ config: 'echo for all', byMac: { [MAC]: 'echo for this card.; sleep 60' } }),
    })
    // The firmware puts what GRUB prints on the serial line by moving the cursor: lines are not whole.
    await expect(vm.serial).toShow('for this card')
  })
})
