"""The blocks of docs/scaling.md that need Citus, in order, as psql runs them."""

import re
import subprocess
import unittest

from cluster import PG_CONFIG, ROOT, Cluster


class Docs(unittest.TestCase):
    def test_blocks_run_as_they_stand(self) -> None:
        blocks = re.findall(r"^```sql citus\n(.*?)^```$", (ROOT / "docs/scaling.md").read_text(), re.S | re.M)
        self.assertTrue(blocks)
        cluster = Cluster("docs", 2, extension=False)
        self.addCleanup(cluster.remove)
        bin_directory = subprocess.run([PG_CONFIG, "--bindir"], capture_output=True, text=True, check=True)
        address = f"host=127.0.0.1 port={cluster.nodes[0].port} user=postgres dbname=app"
        for block in blocks:
            done = subprocess.run(
                [f"{bin_directory.stdout.strip()}/psql", "-XAt", "-v", "ON_ERROR_STOP=1", address],
                input=block, text=True, capture_output=True,
            )
            self.assertEqual(done.returncode, 0, f"{done.stderr}\nof\n{block}")
            self.assertNotIn("|f|", done.stdout, "a command on a shard failed")
