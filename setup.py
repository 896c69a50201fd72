"""All is in pyproject.toml but this: a wheel carries the folder configs/ inside the package."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies configs/*.py to btnet/configs; an editable install reads them where they lie."""

    def run(self) -> None:
        """Build, then add the configs."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "btnet", "configs")
        folder.mkdir(parents=True, exist_ok=True)
        for source in sorted(Path("configs").glob("*.py")):
            self.copy_file(str(source), str(folder / source.name))


setup(cmdclass={"build_py": BuildWithConfigs})
