"""Interchange by DICOM: photographs, outlines and measurements as objects that an archive keeps.

``op`` writes the photograph, ``seg`` the outlines, ``sr`` the measurements, ``write`` all of them for a visit;
``docs/dicom.md`` states what they conform to. pydicom and highdicom are loaded by these modules alone.
"""
