import { expect, test } from 'vitest'
import { netboot } from '../../../src/net/builders.js'

const system = { kernel: '/boot/vmlinuz', initrd: '/boot/initrd.img', append: 'console=ttyS0' }

test('PXELINUX starts a single kernel at once', () => {
  expect(netboot.pxelinux(system)).toMatchInlineSnapshot(`
    {
      "bootfile": "pxelinux.0",
      "files": {
        "initrd": {
          "path": "/boot/initrd.img",
        },
        "linux": {
          "path": "/boot/vmlinuz",
        },
        "pxelinux.cfg/default": "prompt 0
    default linux
    label linux
      kernel linux
      initrd initrd
      append console=ttyS0
    ",
      },
      "trees": [
        "pxelinux",
      ],
    }
  `)
})

test('PXELINUX shows a menu of entries over HTTP, with configurations for single guests', () => {
  expect(
    netboot.pxelinux({
      menu: 'What to boot',
      menuSeconds: 30,
      entries: [
        { label: 'one', ...system },
        { label: 'two', kernel: '/boot/other' },
      ],
      via: 'http',
      byMac: { '52:54:00:AA:BB:CC': 'for the card' },
      byUuid: { '01234567-89AB-CDEF-0123-456789ABCDEF': 'for the machine' },
      files: { more: 'text' },
    }),
  ).toMatchInlineSnapshot(`
    {
      "bootfile": "lpxelinux.0",
      "files": {
        "more": "text",
        "one/initrd": {
          "path": "/boot/initrd.img",
        },
        "one/linux": {
          "path": "/boot/vmlinuz",
        },
        "pxelinux.cfg/01-52-54-00-aa-bb-cc": "for the card",
        "pxelinux.cfg/01234567-89ab-cdef-0123-456789abcdef": "for the machine",
        "pxelinux.cfg/default": "ui menu.c32
    menu title What to boot
    timeout 300
    label one
      kernel http://10.0.2.80/one/linux
      initrd http://10.0.2.80/one/initrd
      append console=ttyS0
    label two
      kernel http://10.0.2.80/two/linux
    ",
        "two/linux": {
          "path": "/boot/other",
        },
      },
      "http": true,
      "trees": [
        "pxelinux",
      ],
    }
  `)
})

test('iPXE starts a kernel or a script', () => {
  expect(netboot.kernel(system)).toMatchInlineSnapshot(`
    {
      "bootfile": "boot.ipxe",
      "files": {
        "boot.ipxe": "#!ipxe
    kernel linux initrd=initrd console=ttyS0
    initrd --name initrd initrd
    boot
    ",
        "initrd": {
          "path": "/boot/initrd.img",
        },
        "linux": {
          "path": "/boot/vmlinuz",
        },
      },
    }
  `)
  expect(netboot.ipxe('#!ipxe\nshell', { via: 'http' })).toMatchInlineSnapshot(`
    {
      "bootfile": "http://10.0.2.80/boot.ipxe",
      "files": {
        "boot.ipxe": "#!ipxe
    shell",
      },
      "http": true,
    }
  `)
})

test('GRUB shows a menu, with configurations for single guests', () => {
  expect(netboot.grub({ entries: [{ label: "it's one", ...system }], menu: '' })).toMatchInlineSnapshot(`
    {
      "bootfile": "grub/i386-pc/core.0",
      "files": {
        "grub/grub.cfg": "set timeout=-1
    menuentry 'it'\\''s one' {
      linux /it's one/linux console=ttyS0
      initrd /it's one/initrd
    }
    ",
        "it's one/initrd": {
          "path": "/boot/initrd.img",
        },
        "it's one/linux": {
          "path": "/boot/vmlinuz",
        },
      },
      "trees": [
        "grub",
      ],
    }
  `)
  expect(
    netboot.grub({
      ...system,
      firmware: 'uefi',
      via: 'http',
      byMac: { '52:54:00:AA:BB:CC': 'for the card' },
    }),
  ).toMatchInlineSnapshot(`
    {
      "bootfile": "grub/x86_64-efi/core.efi",
      "files": {
        "grub/grub.cfg": "set timeout=0
    menuentry 'linux' {
      linux (http,10.0.2.80)/linux console=ttyS0
      initrd (http,10.0.2.80)/initrd
    }
    ",
        "grub/grub.cfg-01-52-54-00-aa-bb-cc": "for the card",
        "initrd": {
          "path": "/boot/initrd.img",
        },
        "linux": {
          "path": "/boot/vmlinuz",
        },
      },
      "http": true,
      "trees": [
        "grub",
      ],
    }
  `)
})

test("Debian's installer shows the menu of its package or starts at once", () => {
  expect(netboot.debianInstaller()).toMatchInlineSnapshot(`
    {
      "bootfile": "pxelinux.0",
      "files": {},
      "trees": [
        "debian-netboot",
      ],
    }
  `)
  expect(
    netboot.debianInstaller({ append: 'console=ttyS0', preseed: 'd-i a/b string c' }),
  ).toMatchInlineSnapshot(`
    {
      "bootfile": "pxelinux.0",
      "files": {
        "preseed.cfg": "d-i a/b string c",
        "pxelinux.cfg/default": "prompt 0
    default install
    label install
      kernel debian-installer/amd64/linux
      initrd debian-installer/amd64/initrd.gz
      append console=ttyS0 auto=true url=http://10.0.2.80/preseed.cfg
    ",
      },
      "http": true,
      "trees": [
        "debian-netboot",
      ],
    }
  `)
})

test("Debian's installer over HTTP shows the menu of its package", () => {
  expect(netboot.debianInstaller({ via: 'http' })).toEqual({
    trees: ['debian-netboot', 'pxelinux'],
    bootfile: 'http://10.0.2.80/lpxelinux.0', // PXELINUX fetches all other files from there
    http: true,
    files: {},
  })
  const { files } = netboot.debianInstaller({ via: 'http', arch: 'aarch64' })
  const config = String(files?.['debian-installer/arm64/grub/grub.cfg'])
  expect(config).toMatch(
    /^set timeout=-1\nmenuentry 'Install' \{\n {2}linux \(http,10\.0\.2\.80\)\/debian-installer/,
  )
  expect(config.match(/menuentry/g)).toHaveLength(4)
})
