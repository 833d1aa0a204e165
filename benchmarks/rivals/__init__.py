"""The packages that krylax is measured against, one file each."""
