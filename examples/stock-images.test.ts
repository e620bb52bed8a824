import { readFile } from 'node:fs/promises'
import { beforeAll, expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { failureOf } from '../test/support/failure-of.js'
import { cloudImage, debvmImage, LONG_MS, TESTER } from '../test/support/stock-images.js'

let cloud: Awaited<ReturnType<typeof cloudImage>>
let debvm: Awaited<ReturnType<typeof debvmImage>>

beforeAll(async () => {
  ;[cloud, debvm] = [await cloudImage(), await debvmImage()]
}, LONG_MS)

test(
  'cloud-init of a stock image applies user data and the key of the run',
  async () => {
    const { image, kernel, initrd, append } = cloud
    // #region cloud-init
    await using vm = await launchVM({
      image, // such as './debian-12-generic-amd64.qcow2'; an .ova here
      kernel, // `kernel`, `initrd` and `append`: only for a disk without a boot loader
      initrd,
      append,
      name: 'web-1', // the host name
      cloudInit: {
        userData: {
          write_files: [{ path: '/etc/demo', content: 'by cloud-init\n' }],
          runcmd: ['cp /etc/demo /run/demo'],
        },
        metaData: { 'instance-id': 'chosen', 'public-keys': [OTHER_KEY] },
      },
    })
    // The guest is ready when cloud-init has finished; a failed module fails the start.
    expect((await vm.ssh`id -un; hostname; cat /run/demo`).stdout).toBe('root\nweb-1\nby cloud-init')
    // #endregion

    // The key of the run is added to the other keys, for root and for the default user of the image.
    expect((await vm.ssh('id -un', { user: 'debian' })).stdout).toBe('debian')
    expect((await vm.ssh`wc -l < /root/.ssh/authorized_keys`).stdout).toBe('2')
    expect((await vm.ssh`cat /var/lib/cloud/data/instance-id`).stdout).toBe('chosen')

    // The guest has only the host key of the run, which is in the `known_hosts` file for `ssh`.
    const { stdout: hostKeys } = await vm.ssh`cat /etc/ssh/*_key.pub`
    expect(await readFile(`${vm.runFolder}/known_hosts`, 'utf8')).toBe(`* ${hostKeys}\n`)

    // The cloud-init seed is the last disk.
    const { stdout: disks } = await vm.ssh`lsblk -dno NAME,LABEL,RO; cat /sys/block/vdb/serial`
    expect(disks).toMatch(/^vda +0\nvdb +CIDATA +1\ncidata$/)

    // A failed module is reported with its log.
    const script = '/var/lib/cloud/scripts/per-boot/bad'
    await vm.ssh`mkdir -p /var/lib/cloud/scripts/per-boot; printf '#!/bin/sh\nexit 3\n' > ${script}; chmod +x ${script}`
    await vm.ssh('cloud-init modules --mode final', { reject: false })
    const error = await failureOf(vm.waitUntilReady())
    expect(error.code).toBe('CLOUD_INIT_FAILED')
    expect(error.message).toContain(
      `Guest '${vm.id}': cloud-init reported errors.\n  Got:      ('scripts-per-boot', `,
    )
    expect(error.message).toMatch(/cloud-init's logs:\n(.*\n)*.*Failed to run module scripts-per-boot/)
  },
  LONG_MS,
)

const OTHER_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIuJp7xqG0nqxmFRvHXGJCmTrp9DTRnzjqVtXf1tTDR7 another'

test(
  '`login` installs the key of the run over the serial console',
  async () => {
    const { kernel, initrd, vmdk: image } = debvm
    // Without this, systemd imports the key from the SMBIOS credentials.
    const append = `${debvm.append} systemd.import_credentials=no`
    const { user, password } = TESTER
    // #region login
    await using vm = await launchVM({
      image,
      kernel,
      initrd,
      append,
      cloudInit: false,
      login: { user, password }, // a user who can log in on the serial console
      ssh: { user: 'root' }, // install the key for this user, with sudo; default: `login.user`
    })
    expect((await vm.ssh`id -un`).stdout).toBe('root')
    // #endregion
    expect((await vm.ssh`stat -c %a /root/.ssh /root/.ssh/authorized_keys`).stdout).toBe('700\n600')

    // The console is logged out; `vm.serial.login()` logs in at any time.
    const error = await failureOf(vm.serial.login({ user, password: 'wrong' }))
    expect(error.code).toBe('LOGIN_FAILED')
    // #region serial
    await vm.serial.login({ user, password })
    // #endregion
    expect(await vm.serial.login({ user, password })).toEqual({ wasLoggedIn: true })
  },
  LONG_MS,
)
