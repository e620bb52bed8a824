import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'vitest'
import { launchVM, netboot } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { makeBootProgram } from '../../support/boot-program.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const MAC = '52:54:00:aa:bb:cc'

describe('iPXE', () => {
  test('iPXE fetches files over TFTP and HTTP, and files that a function generates on request', async () => {
    await using vm = await launchVM({
      network: { mac: MAC },
      netboot: {
        bootfile: 'boot.ipxe',
        http: { faults: { 'slow/generated': { cutAfter: 7, times: 1 } } },
        files: {
          'boot.ipxe': ({ mac, firmware }) =>
            [
              '#!ipxe',
              `echo I am ${mac} with ${firmware}`,
              'imgfetch tftp://10.0.2.2/dir/text.txt',
              'imgfetch http://10.0.2.80/dir/text.txt',
              'imgfetch http://10.0.2.80/absent || echo the file is absent',
              'imgfetch http://10.0.2.80/slow/generated || echo the download was cut',
              'imgfetch http://10.0.2.80/slow/generated && echo the download was complete',
              'imgfetch tftp://10.0.2.2/absent || echo all steps are done',
              'sleep 60',
            ].join('\n'),
          'dir/text.txt': 'a text\n'.repeat(1000),
          'slow/generated': async ({ mac }) => `for ${mac}`,
        },
      },
      ready: /^all steps are done/,
    })
    await expect(vm).toHaveGotLease({ mac: MAC, address: '10.0.2.15', firmware: 'bios', userClass: 'iPXE' })
    await expect(vm).toHaveFetchedInOrder(['boot.ipxe', 'dir/text.txt', '/dir/text.txt', 'slow/generated'])
    await expect(vm).toHaveFetched('dir/text.txt', { protocol: 'tftp' })
    await expect(vm).not.toHaveFetched('absent')
    await expect(vm.serial).toSeeInOrder([
      `I am ${MAC} with bios`,
      'the file is absent',
      'the download was cut',
      'the download was complete',
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
      ['http', '/slow/generated', 'failed', 200, 7],
      ['http', '/slow/generated', 'complete', 200, 21],
      ['tftp', 'absent', 'not found', 1, 0],
    ])
    expect(vm.netboot.dhcp).toMatchObject([
      { mac: MAC, isGranted: true, bootfile: 'boot.ipxe', vendorClass: 'PXEClient:Arch:00000:UNDI:002001' },
    ])
    expect(vm.netboot.problem).toBe(
      'TFTP: absent: file not found; the folder contains boot.ipxe, dir/text.txt, slow/generated',
    )
  })

  test('iPXE on an rtl8139 boots a script over HTTP alone and fetches a file over IPv6', async () => {
    await using vm = await launchVM({
      network: { model: 'rtl8139', internet: true }, // QEMU serves TFTP over IPv6 only in an open network
      netboot: netboot.ipxe('#!ipxe\nimgfetch tftp://[fec0::2]/a\necho over HTTP alone.\nsleep 60', {
        via: 'http',
        files: { a: 'text' },
      }),
      ready: /^over HTTP alone/,
    })
    expect(vm.netboot.requests.map(({ protocol, path }) => `${protocol} ${path}`)).toEqual([
      'http /boot.ipxe',
      'tftp a',
    ])
  })

  test('with `once`, a guest boots from the network once, then from its disk', async () => {
    const disk = join(ownTmpdir(), 'disk.img')
    writeFileSync(disk, Buffer.concat([makeBootProgram('this is the disk.'), Buffer.alloc(1024 * 1024)]))
    await using vm = await launchVM({
      image: { path: disk, format: 'raw' },
      ssh: false,
      netboot: { ...netboot.ipxe('#!ipxe\necho this is the network.\nreboot'), once: true },
      ready: /^this is the disk/,
    })
    await expect(vm.serial).toSeeInOrder(['this is the network', 'this is the disk'])
    const requestCount = vm.netboot.requests.length
    await vm.powerCut()
    await vm.start()
    expect(vm.netboot.requests).toHaveLength(requestCount)
  })
})

describe('PXELINUX', () => {
  test('PXELINUX on an e1000 shows a menu, and keys select the second entry', async () => {
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
    // SeaBIOS copies the screen to the serial port, to which the loader also prints.
    { vga: 'none', times: 2 },
  ] as const)('PXELINUX with SERIAL and vga: $vga prints a line $times times', async ({ vga, times }) => {
    await using vm = await launchVM({
      vga,
      netboot: netboot.pxelinux({
        config: 'serial 0 115200\nprompt 1\ntimeout 0\nlabel x\n  kernel x.0',
      }),
      ready: /boot:/,
    })
    await expect.poll(() => vm.serial.text.match(/^PXELINUX \d/gm), { timeout: 10_000 }).toHaveLength(times)
  })

  test('memtest86+ boots from the network', async () => {
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
  test('GRUB under BIOS uses the configuration for the MAC address of the card', async () => {
    await using vm = await launchVM({
      network: { mac: MAC },
      netboot: netboot.grub({ config: 'echo for all', byMac: { [MAC]: 'echo for this MAC.; sleep 60' } }),
    })
    // The firmware moves the cursor to draw GRUB's output on the serial console, so lines are not contiguous.
    await expect(vm.serial).toShow('for this MAC')
  })
})
