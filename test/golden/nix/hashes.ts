/**
 * Hashes and the paths of them, by Nix 2.8.0, of a file `seven` that holds `seven b`, `eight` that holds `eight by`, and
 * the tree of `../nar/trees.ts`.
 *
 * `spellings`: `nix-hash --type T --flat seven`, `nix-hash --to-base32 --type T`, `nix hash to-sri --type T`.
 * `paths`: `nix-store --add-fixed [--recursive] T FILE`.
 */
export const spellings = [
  {
    algorithm: "md5",
    base16: "0ad78ec8ff0372fb2c260e47086b5ea8",
    nix32: "58brmhhiqf4qngnwh3zz48xmqa",
    sri: "md5-CteOyP8DcvssJg5HCGteqA=="
  },
  {
    algorithm: "sha1",
    base16: "0a22d2908cc803f3d72acca2e3a2b79424c425d0",
    nix32: "s0jw894lnyif78nc5bbz60y8ij8d48ha",
    sri: "sha1-CiLSkIzIA/PXKsyi46K3lCTEJdA="
  },
  {
    algorithm: "sha256",
    base16: "b72872bd2a6746063ebc454337bd6222a29cc9acc42b6e31f71f9f855b928c57",
    nix32: "0mwcj9dqb7qzywqnway4mk4rr8i2caykfhs5phz0cik75ayp4a5p",
    sri: "sha256-tyhyvSpnRgY+vEVDN71iIqKcyazEK24x9x+fhVuSjFc="
  },
  {
    algorithm: "sha512",
    base16:
      "936c7cae9cceae13c779bde173d38ecceafd556c349d012a77d3c9419ecc297df29e5317552c7170b89ff9c89864f1c388cb90a2d1e3061d109a0540ffa6263a",
    nix32: "0x2d9pz802rl40x0vix38lhrf4c7wb4k34gk7xqf1qjqm8pafgg4z99rjg43jfkfwm0379ldiazvsnciv9p7qdxg73i7bnfkjp7qv4k",
    sri: "sha512-k2x8rpzOrhPHeb3hc9OOzOr9VWw0nQEqd9PJQZ7MKX3ynlMXVSxxcLif+ciYZPHDiMuQotHjBh0QmgVA/6YmOg=="
  }
] as const

export const paths = {
  /** `sha256 seven` */
  flatSha256: "gx2z3x0fgrswy9f9s2kbpb5wr1ll9q31-seven",
  /** `sha1 eight` */
  flatSha1: "nd25i5afbw3yq08cr2ab4qzy7xywk436-eight",
  /** `--recursive sha256 tree` */
  narSha256: "dkadgw8z0r75k281ijcyf9xd7yh4bxwp-tree",
  /** `--recursive sha1 tree` */
  narSha1: "11rqjbxd6s5m6bxnfh63460jzzlb9jfn-tree"
} as const
