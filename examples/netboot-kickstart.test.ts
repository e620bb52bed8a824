import { launchVM, netboot } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { resolveImage } from '../src/image/resolve-image.js'

/** `tiny` stands in for an installer: its kernel and the URL of its kickstart file come from the network. */
const { directBoot } = await resolveImage('tiny')
const kernel = directBoot?.efiKernel ?? ''
const initrd = directBoot?.initrd ?? ''
const append = directBoot?.append.join(' ') ?? ''

test('a guest that boots from the network fetches a kickstart file made for its MAC address', async () => {
  // #region kickstart
  const boot = netboot.kernel({
    kernel,
    initrd,
    append: `${append} inst.ks=http://10.0.2.80/ks.cfg`,
    via: 'http',
  })
  await using vm = await launchVM({
    image: 'tiny',
    network: { mac: '52:54:00:aa:bb:cc' },
    netboot: {
      ...boot,
      files: {
        ...boot.files,
        'ks.cfg': ({ mac }) => `text\nrootpw --lock\nnetwork --hostname=host-${mac.slice(-2)}\n`,
      },
    },
    ssh: {},
  })
  await expect(vm).toHaveFetchedInOrder(['linux', 'initrd'])
  // #endregion
  const { stdout } = await vm.ssh`wget -q -O - "$(sed 's/.*inst.ks=//; s/ .*//' /proc/cmdline)"`
  expect(stdout).toBe('text\nrootpw --lock\nnetwork --hostname=host-cc')
  await expect(vm).toHaveFetched('ks.cfg', { protocol: 'http' })
})
