/**
 * What became of the content-addressed derivations of `derivations.nix`, by Nix 2.8.0.
 *
 * `realisations`: `nix realisation info --json -f derivations.nix realised`.
 * `narinfos`: `nix copy --to 'file://…?secret-key=…&compression=none'` of their outputs, and of the tree of
 * `../nar/trees.ts` after `nix-store --add`; the secret key was made for this, by
 * `nix key generate-secret --key-name golden-1`.
 * `selfNar`: `nix-store --dump` of the output of `caSelf`, base 64.
 */
export const realisations: ReadonlyArray<string> = [
  '{"dependentRealisations":{},"id":"sha256:4e8cd8c81a22ba6a337ab7cac839def964dc742a74eaf2235cd8bbd53854575d!out","outPath":"dgyb92qqymr0m52pc25v48xhbzf2l0f3-ca-flat","signatures":[]}',
  '{"dependentRealisations":{},"id":"sha256:b63de1da18b59fd9e083df1845e6aaef2a345d6d7dc3e2895b7c6cdca2d036c3!out","outPath":"ys4jyzw8g5p35mrkk38cixpdcssnp17f-ca-self","signatures":[]}',
  '{"dependentRealisations":{},"id":"sha256:bdcd59ca03ca514a55c42b8ff221f01592eca303b2fcc7fa173034ef9b6291be!out","outPath":"pbs48h8j9dr9gij0hr6ni0ndb9cm9w47-ca","signatures":[]}',
  '{"dependentRealisations":{"sha256:4e8cd8c81a22ba6a337ab7cac839def964dc742a74eaf2235cd8bbd53854575d!out":"dgyb92qqymr0m52pc25v48xhbzf2l0f3-ca-flat","sha256:b63de1da18b59fd9e083df1845e6aaef2a345d6d7dc3e2895b7c6cdca2d036c3!out":"ys4jyzw8g5p35mrkk38cixpdcssnp17f-ca-self","sha256:bdcd59ca03ca514a55c42b8ff221f01592eca303b2fcc7fa173034ef9b6291be!out":"pbs48h8j9dr9gij0hr6ni0ndb9cm9w47-ca"},"id":"sha256:f48c6d299b34e6f81ac780df8138a637a90c98d55bb0b530125518ae51ccfee9!out","outPath":"68ir7804kyx56fxh26n3n2nr9q0qmz8v-ca-user","signatures":[]}'
]

export const narinfos: { readonly [hashPart: string]: string } = {
  "68ir7804kyx56fxh26n3n2nr9q0qmz8v":
    "StorePath: /nix/store/68ir7804kyx56fxh26n3n2nr9q0qmz8v-ca-user\nURL: nar/1x7nnd4aqwgjp5hkw1si1jmg78sakgnfr77wm6vl07rp5alki5id.nar\nCompression: none\nFileHash: sha256:1x7nnd4aqwgjp5hkw1si1jmg78sakgnfr77wm6vl07rp5alki5id\nFileSize: 264\nNarHash: sha256:1x7nnd4aqwgjp5hkw1si1jmg78sakgnfr77wm6vl07rp5alki5id\nNarSize: 264\nReferences: dgyb92qqymr0m52pc25v48xhbzf2l0f3-ca-flat pbs48h8j9dr9gij0hr6ni0ndb9cm9w47-ca ys4jyzw8g5p35mrkk38cixpdcssnp17f-ca-self\nDeriver: anfwbnnfl5y2kqj4h61mi624vlgscnp8-ca-user.drv\nSig: golden-1:oeh7XZAFAdGvMm1b8zQBPjNwocb2/a6dQYiO2aj7b5Ju0Cf18fBPRxNkp18XR5WkahMWHHOGgtCvm47s3p/4BA==\nCA: fixed:r:sha256:1x7nnd4aqwgjp5hkw1si1jmg78sakgnfr77wm6vl07rp5alki5id\n",
  dgyb92qqymr0m52pc25v48xhbzf2l0f3:
    "StorePath: /nix/store/dgyb92qqymr0m52pc25v48xhbzf2l0f3-ca-flat\nURL: nar/1hz895vkrd9mfbmk89rj4i3ax1g1m3sbr4pqdwfa84bzbij5l27n.nar\nCompression: none\nFileHash: sha256:1hz895vkrd9mfbmk89rj4i3ax1g1m3sbr4pqdwfa84bzbij5l27n\nFileSize: 120\nNarHash: sha256:1hz895vkrd9mfbmk89rj4i3ax1g1m3sbr4pqdwfa84bzbij5l27n\nNarSize: 120\nReferences: \nDeriver: a4skym265pyccrc2y8wcgc831pl2daq2-ca-flat.drv\nSig: golden-1:g4i4lO6YajuXQnuKqlG/YWuTZpj3fU2C9q8nIqATMvuKxbMxAKL5FNylNwq8i37gUmXD0pg2Ae4DZGvXIA01AQ==\nCA: fixed:sha256:1xk2hhjr0f2n4adj1h688wlz59xpl86y1r8bd2pjasg8gy16mikb\n",
  dkadgw8z0r75k281ijcyf9xd7yh4bxwp:
    "StorePath: /nix/store/dkadgw8z0r75k281ijcyf9xd7yh4bxwp-tree\nURL: nar/0i65pqd201zj2w8c24nb0nn9fwd42z7kfk0z64dkdx33aqvail5a.nar\nCompression: none\nFileHash: sha256:0i65pqd201zj2w8c24nb0nn9fwd42z7kfk0z64dkdx33aqvail5a\nFileSize: 3240\nNarHash: sha256:0i65pqd201zj2w8c24nb0nn9fwd42z7kfk0z64dkdx33aqvail5a\nNarSize: 3240\nReferences: \nSig: golden-1:5veACIFyvpRTcLFIym+XGR49LEyKvx0d+sOVo4JuH7ldX+yUv5evYSG/rsn5C37uo8FGUO6uOWneH7OETYVcAg==\nCA: fixed:r:sha256:0i65pqd201zj2w8c24nb0nn9fwd42z7kfk0z64dkdx33aqvail5a\n",
  pbs48h8j9dr9gij0hr6ni0ndb9cm9w47:
    "StorePath: /nix/store/pbs48h8j9dr9gij0hr6ni0ndb9cm9w47-ca\nURL: nar/0bkj3jq8aldrkpsfw52gwcabmzq3qbka1hzla7irzq3y242gh90y.nar\nCompression: none\nFileHash: sha256:0bkj3jq8aldrkpsfw52gwcabmzq3qbka1hzla7irzq3y242gh90y\nFileSize: 120\nNarHash: sha256:0bkj3jq8aldrkpsfw52gwcabmzq3qbka1hzla7irzq3y242gh90y\nNarSize: 120\nReferences: \nDeriver: wzfbf7cnys14a4m5i5g9m3sxkx2g3c8a-ca.drv\nSig: golden-1:OXiKH2JPzrslKjY22Gf6CLSWH6D/J6heP3atZPdhUZARzDJd1fQZRlreL8ylACA01JDD1cERTX54II7Se/jcDQ==\nCA: fixed:r:sha256:0bkj3jq8aldrkpsfw52gwcabmzq3qbka1hzla7irzq3y242gh90y\n",
  ys4jyzw8g5p35mrkk38cixpdcssnp17f:
    "StorePath: /nix/store/ys4jyzw8g5p35mrkk38cixpdcssnp17f-ca-self\nURL: nar/0i20lvi65bl4synwl1y8gnd38nkfj23z391k5fc3hgw18dza1kwp.nar\nCompression: none\nFileHash: sha256:0i20lvi65bl4synwl1y8gnd38nkfj23z391k5fc3hgw18dza1kwp\nFileSize: 224\nNarHash: sha256:0i20lvi65bl4synwl1y8gnd38nkfj23z391k5fc3hgw18dza1kwp\nNarSize: 224\nReferences: ys4jyzw8g5p35mrkk38cixpdcssnp17f-ca-self\nDeriver: 0a343pw92sy120fm3vbdlrx7v3m29i8i-ca-self.drv\nSig: golden-1:6W/34/8br46u0HE8r63Om8GJ97VlBvv59AbiivcceKkGzXswIG2cikxzolzKuB4IC4apsLp2ovu3izPtogGDDA==\nCA: fixed:r:sha256:1rs2ly1l82sxma974qlacw1dm5c0nlfvr4fwb8dvki5ahhzvhcb2\n"
}

export const secretKey =
  "golden-1:C/7F277a1p27e9e3LEPgiERFIbazDsdj/wo4isjuGBlWeI49SDMPphiLjv57Tcj4PDRyDFZnECifPF+NRAB8sg=="

export const publicKey = "golden-1:VniOPUgzD6YYi47+e03I+Dw0cgxWZxAonzxfjUQAfLI="

export const selfNar =
  "DQAAAAAAAABuaXgtYXJjaGl2ZS0xAAAAAQAAAAAAAAAoAAAAAAAAAAQAAAAAAAAAdHlwZQAAAAAHAAAAAAAAAHJlZ3VsYXIACAAAAAAAAABjb250ZW50c2wAAAAAAAAAL25peC9zdG9yZS95czRqeXp3OGc1cDM1bXJrazM4Y2l4cGRjc3NucDE3Zi1jYS1zZWxmIGFuZCAvbml4L3N0b3JlL3lzNGp5enc4ZzVwMzVtcmtrMzhjaXhwZGNzc25wMTdmLWNhLXNlbGYKAAAAAAEAAAAAAAAAKQAAAAAAAAA="
