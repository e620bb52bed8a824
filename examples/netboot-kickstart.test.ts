import { launchVM, netboot } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { resolveImage } from '../src/image/resolve-image.js'

/** What boots in an installer's place: it gets its kernel, and the address of its answers, from the network. */
const { directBoot } = await resolveImage('tiny')
const kernel = directBoot?.efiKernel ?? ''
const initrd = directBoot?.initrd ?? ''
const append = directBoot?.append.join(' ') ?? ''

test('a kernel of the network finds the kickstart file of its machine', async () => {
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
