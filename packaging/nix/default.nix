# SPDX-License-Identifier: MIT
# nix-build packaging/nix, in the source: builds what lies there, runs its tests, and installs into the store.
{ pkgs ? import <nixpkgs> { } }:

pkgs.stdenv.mkDerivation {
  pname = "libcore";
  version = "0.1.0";
  src = pkgs.lib.cleanSource ../..;

  outputs = [ "out" "dev" "man" "doc" ];
  nativeBuildInputs = with pkgs; [ autoreconfHook pkg-config ];
  nativeCheckInputs = with pkgs; [ check ];
  enableParallelBuilding = true;
  doCheck = true;

  meta = {
    description = "Exceptions, arenas, hash tables, sockets and HTTP for C";
    license = pkgs.lib.licenses.mit;
    platforms = pkgs.lib.platforms.unix;
  };
}
